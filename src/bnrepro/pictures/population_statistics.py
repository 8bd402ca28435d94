"""Test accuracy, and how much an example's prediction depends on the others, against the size of the test batch."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnrepro.claims.style import OTHER_COLOURS, PAGE, canvas, colour, panel_letters
from bnrepro.tables import Results

# The fixed maps lie on each other: told apart by line and width, not by colour alone.
LOOKS = {
    "test batch": ("statistics of the test batch", colour("batch"), "-", 1.1),
    "moving average": ("moving average of training", OTHER_COLOURS[2], "-", 2.6),
    "Algorithm 2": ("population, Algorithm 2", "#000000", "--", 1.1),
}


def figures(results: Results) -> dict[str, Figure]:
    """Two panels; lines are medians of the seeds, bands their range."""
    found = results.measured("population_statistics")
    if found is None or "test batch" not in set(found.frame["statistics"]):
        return {}
    frame = found.frame
    sizes = sorted(frame.loc[frame["statistics"] == "test batch", "batch"].unique())
    figure, [axes] = canvas(PAGE, 2.5, 1, 2)
    for panel, metric in zip(axes, ("accuracy", "changed"), strict=True):
        for statistics in ("moving average", "Algorithm 2", "test batch"):
            rows = frame[(frame["statistics"] == statistics) & (frame["metric"] == metric)]
            _draw(panel, statistics, rows.pivot(index="batch", columns="seed", values="value"), sizes)
        panel.set(xscale="log", xlim=(sizes[0], sizes[-1]), xlabel="test examples a batch")
        panel.set_xticks(sizes, [str(size) for size in sizes])
        panel.minorticks_off()
    axes[0].set(ylabel="test accuracy, %")
    axes[1].set(ylabel="predictions that change, %")
    panel_letters(list(axes), ["accuracy", "as the others in the batch are exchanged"])
    fixed = frame[frame["statistics"].isin(["moving average", "Algorithm 2"]) & (frame["metric"] == "dependence")]
    if (fixed["value"] == 0).all():
        axes[1].annotate("exactly 0", (sizes[0], 0), (4, 4), textcoords="offset points", fontsize=7)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(LOOKS))
    seeds = frame["seed"].nunique()
    figure.suptitle(f"{found.meta['data']}; median and range of {seeds} trained networks", fontsize=8)
    return {"population_statistics_accuracy": figure}


def _draw(panel: Axes, statistics: str, curves: pd.DataFrame, sizes: list[int]) -> None:
    """Percentages over the batch sizes; a fixed map that was evaluated at one of them is a level line."""
    label, shade, style, width = LOOKS[statistics]
    percent = 100 * curves
    if len(percent) == 1:
        percent = pd.concat([percent.set_axis([size]) for size in sizes])
    panel.plot(percent.index, percent.median(axis=1), style, color=shade, linewidth=width, label=label)
    panel.fill_between(percent.index, percent.min(axis=1), percent.max(axis=1), color=shade, alpha=0.18, linewidth=0)
