"""A bias trained beside a normalisation that its gradient does not see: it grows, and the loss stays."""

from __future__ import annotations

from matplotlib.figure import Figure

from bnrepro.claims.style import OTHER_COLOURS, PAGE, canvas, colour, panel_letters
from bnrepro.tables import Results

# In the order of drawing, the wide lines first: where two coincide, both can be seen.
SHOWN = {
    "none": ("without normalisation", colour("none"), "--", 1.1),
    "inside": ("BN: statistics inside the gradient", colour("batch"), "-", 2.6),
    "mean outside": ("mean outside the gradient", OTHER_COLOURS[2], "-", 2.6),
    "mean and variance outside": ("mean and variance outside the gradient", OTHER_COLOURS[4], "-.", 1.1),
}


def figures(results: Results) -> dict[str, Figure]:
    """Norm of b, and the loss beside it, against the updates."""
    found = results.measured("stepwise_normalization")
    if found is None:
        return {}
    figure, [[bias, loss]] = canvas(PAGE, 2.7, 1, 2)
    for transform, (label, shade, style, width) in SHOWN.items():
        rows = found.frame[found.frame["transform"] == transform]
        bias.plot(rows["update"], rows["b"], style, color=shade, linewidth=width, label=label)
        loss.plot(rows["update"], rows["loss"], style, color=shade, linewidth=width)
    bias.set(xlabel="updates of b", ylabel=r"$\|b\|$")
    # Linear up to 1 so that a bias that stays at zero can be seen beside one that reaches hundreds.
    bias.set_yscale("symlog", linthresh=1.0)
    bias.set_ylim(-0.1, None)
    loss.set(xlabel="updates of b", ylabel="loss (nats)")
    panel_letters([bias, loss], ["the bias", "the loss"])
    figure.legend(*bias.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return {"stepwise_normalization_bias": figure}
