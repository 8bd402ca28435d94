"""What becomes of noise in a mini-batch whose samples differ less and less."""

from __future__ import annotations

from matplotlib.figure import Figure

from bnrepro.claims.style import OTHER_COLOURS, PAGE, canvas, panel_letters
from bnrepro.tables import Results

STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "D", "^")
PANELS = {"gain of noise": "noise after ÷ before", "noise in the output": "change of the output (RMS)"}


def figures(results: Results) -> dict[str, Figure]:
    """(a) the gain of small noise, (b) what noise of standard deviation 0.01 does, a line for each ε."""
    found = results.measured("similar_samples")
    if found is None:
        return {}
    frame = found.frame
    figure, [axes] = canvas(PAGE, 2.6, 1, 2)
    smallest = frame.loc[frame["deviation"] > 0, "deviation"].min()
    for panel, (quantity, label) in zip(axes, PANELS.items(), strict=True):
        chosen = frame[frame["quantity"] == quantity]
        for line, (epsilon, rows) in enumerate(chosen.groupby("epsilon")):
            panel.plot(
                rows["deviation"], rows["size"], STYLES[line % 4], marker=MARKERS[line % 4], markersize=3,
                color=OTHER_COLOURS[(0, 1, 4, 3)[line % 4]], label=f"ε = {epsilon:g}",
            )  # fmt: skip
        panel.set_xscale("symlog", linthresh=smallest, linscale=0.6)
        panel.set_xticks([0, 1e-6, 1e-4, 1e-2, 1], ["0", "$10^{-6}$", "$10^{-4}$", "$10^{-2}$", "1"])
        panel.set_xticks([], minor=True)
        panel.set(yscale="log", xlabel="standard deviation of the samples, σ", ylabel=label)
    axes[1].axhline(1, color="0.6", linewidth=0.6, linestyle=":")
    axes[1].text(1, 1.08, "the output itself", color="0.35", fontsize=7, ha="right", va="bottom")
    panel_letters(list(axes), ["gain of the layer", "effect of noise of 0.01"])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return {"similar_samples_noise": figure}
