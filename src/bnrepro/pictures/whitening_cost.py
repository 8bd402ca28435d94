"""Time of whitening and of per-feature normalisation against the number of features."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bnrepro import stats
from bnrepro.claims.style import COLUMN, OTHER_COLOURS, canvas, colour
from bnrepro.tables import Results

LAYERS = {
    "whitening": ("full whitening", OTHER_COLOURS[4], "s", "--"),
    "per_feature": ("per feature", colour("batch"), "o", "-"),
}
FITTED_FROM = 128
"""Exponents are those of the wider layers: the narrow ones mostly take the time of calling a function."""


def exponent(frame: pd.DataFrame, column: str) -> stats.Interval:
    """Slope of log time against log width by least squares, round by round; NaN for fewer than two wide layers."""
    wide = frame[frame["width"] >= FITTED_FROM].pivot(index="width", columns="round", values=column)
    if len(wide) < 2:
        return stats.Interval(math.nan, math.nan, math.nan, 0)
    logs = np.log(wide.to_numpy(dtype=float))
    return stats.paired_difference(np.polyfit(np.log(wide.index.to_numpy(dtype=float)), logs, 1)[0])


def ratio_at(frame: pd.DataFrame, width: int) -> stats.Interval:
    """Time of whitening over that of per-feature normalisation at one width, round by round."""
    rows = frame[frame["width"] == width]
    return stats.paired_ratio(rows["whitening"].to_numpy(), rows["per_feature"].to_numpy())


def figures(results: Results) -> dict[str, Figure]:
    """Median and range of the rounds, with the slope of the wider layers and the ratio at the widest."""
    found = results.measured("whitening_cost")
    if found is None:
        return {}
    figure, [[axes]] = canvas(COLUMN, 2.8)
    medians = {}
    for column, (label, shade, marker, style) in LAYERS.items():
        rounds = 1000 * found.frame.pivot(index="width", columns="round", values=column)
        middle = medians[column] = rounds.median(axis=1)
        slope = exponent(found.frame, column)
        growth = f": cost ∝ width$^{{{slope.value:.2f}}}$" if slope.n else ""
        axes.plot(middle.index, middle, style, marker=marker, markersize=3.5, color=shade, label=label + growth)
        axes.fill_between(middle.index, rounds.min(axis=1), rounds.max(axis=1), color=shade, alpha=0.18, linewidth=0)
    low, high = (float(medians[column].iloc[-1]) for column in ("per_feature", "whitening"))
    widest = medians["whitening"].index[-1]
    axes.annotate("", (widest, high), (widest, low), arrowprops={"arrowstyle": "<->", "color": "0.35", "lw": 0.7})
    ratio = ratio_at(found.frame, widest).value
    axes.text(widest * 0.92, np.sqrt(low * high), f"{ratio:.0f}×", color="0.2", ha="right", va="center")
    axes.set(xscale="log", yscale="log", xlabel="features", ylabel="forward + backward (ms of processor time)")
    axes.set_xticks(list(middle.index), [f"{width:g}" for width in middle.index])
    axes.set_xticks([], minor=True)
    axes.legend(loc="upper left")
    return {"whitening_cost_width": figure}
