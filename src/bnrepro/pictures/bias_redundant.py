"""What a bias does to the output, and the gradient that it gets, with BN behind it and without."""

from __future__ import annotations

from matplotlib.figure import Figure

from bnrepro.claims.style import PAGE, canvas, colour, name, panel_letters
from bnrepro.tables import Results

TOLERANCE, LOWEST = 1e-10, 1e-18
MARKERS = {"linear": "o", "convolution": "x"}
LABELS = {
    "change of the output": "relative change of the output",
    "gradient of the bias": "its gradient ÷ that without BN",
}


def figures(results: Results) -> dict[str, Figure]:
    """One panel a quantity, against the size of the bias."""
    found = results.measured("bias_redundant")
    if found is None:
        return {}
    figure, [axes] = canvas(PAGE, 2.6, 1, len(LABELS))
    for panel, (quantity, label) in zip(axes, LABELS.items(), strict=True):
        chosen = found.frame[found.frame["quantity"] == quantity]
        for (norm, layer), rows in chosen.groupby(["norm", "layer"], sort=False):
            norm, layer = str(norm), str(layer)
            style = "--" if norm == "none" else "-"
            # Zero has no place on a log axis; a gradient that is exactly zero is drawn on its lower edge.
            panel.plot(
                rows["bias"], rows["size"].clip(lower=LOWEST), style, marker=MARKERS[layer], color=colour(norm),
                markersize=4, fillstyle="none", label=f"{name(norm)}, {layer}",
            )  # fmt: skip
        panel.axhline(TOLERANCE, color="0.6", linewidth=0.6, linestyle=":")
        panel.text(chosen["bias"].min(), 2 * TOLERANCE, "tolerance", color="0.35", fontsize=7)
        panel.set(xscale="log", yscale="log", xlabel="standard deviation of the bias", ylabel=label, ylim=(LOWEST, 1e4))
        panel.set_xticks([], minor=True)
    panel_letters(list(axes), list(LABELS))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return {"bias_redundant_bias": figure}
