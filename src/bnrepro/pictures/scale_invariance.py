"""Error of the three identities of §3.3 against the scale of the weights."""

from __future__ import annotations

from matplotlib.figure import Figure

from bnrepro.claims.style import OTHER_COLOURS, PAGE, canvas, panel_letters
from bnrepro.tables import Results


def figures(results: Results) -> dict[str, Figure]:
    """One panel a layer; solid at ε = 0, dashed with the layer's own ε."""
    found = results.measured("scale_invariance")
    if found is None:
        return {}
    frame = found.frame
    layers = list(dict.fromkeys(frame["layer"]))
    figure, [axes] = canvas(PAGE, 2.4, 1, len(layers), sharey=True)
    for panel, layer in zip(axes, layers, strict=True):
        chosen = frame[frame["layer"] == layer]
        for line, ((epsilon, identity), rows) in enumerate(chosen.groupby(["epsilon", "identity"])):
            zero = epsilon < 1e-100
            label = f"{identity}, ε = {'0' if zero else format(epsilon, 'g')}"
            style = "-" if zero else "--"
            panel.plot(
                rows["scale"],
                rows["error"],
                style,
                marker="o",
                markersize=2.5,
                color=OTHER_COLOURS[line % 3],
                label=label,
            )
        panel.axhline(1e-8, color="0.6", linewidth=0.6, linestyle=":")
        panel.set(xscale="log", yscale="log", xlabel="scale of the weights, a")
    axes[0].set_ylabel("relative error")
    panel_letters(list(axes), layers)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return {"scale_invariance_error": figure}
