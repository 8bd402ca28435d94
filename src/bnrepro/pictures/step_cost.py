"""Milliseconds of a training step, round by round, and what that makes of the time to an accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnrepro.claims.style import PAGE, canvas, colour, name, panel_letters
from bnrepro.stats import Estimate
from bnrepro.tables import Results

STEPS = "ratio of steps to the plain network's final test accuracy"
TIME = "ratio of time to it"


def figures(results: Results, estimates: Sequence[Estimate]) -> dict[str, Figure]:
    """(a) every round's times, (b) the ratios among ``estimates``, on a logarithmic axis about 1."""
    found = results.measured("step_cost")
    if found is None:
        return {}
    frame = found.frame
    figure, [axes] = canvas(PAGE, 1.9, 1, 2)
    _times(axes[0], frame)
    _ratios(axes[1], [each for each in estimates if each.unit == "ratio"])
    panel_letters(list(axes), [f"{frame['round'].nunique()} rounds of both in turn", "with BN over without"])
    data = "; ".join(
        f"{model}: {', '.join(rows['data'].unique())}" for model, rows in frame.groupby("model", sort=False)
    )
    figure.suptitle(f"{data}; one training step, one CPU thread", fontsize=8)
    return {"step_cost_ratio": figure}


def _times(axes: Axes, frame: pd.DataFrame) -> None:
    groups = [
        ((str(rows["model"].iloc[0]), str(rows["arm"].iloc[0])), rows["seconds"])
        for _, rows in frame.groupby(["model", "arm"], sort=False)
    ]
    for row, ((_, arm), seconds) in enumerate(groups):
        milliseconds = 1000 * seconds.to_numpy()
        axes.plot(milliseconds, np.full(len(seconds), row), "o", color=colour(arm), markersize=3.5, alpha=0.5)
        axes.plot([milliseconds.mean()], [row], "|", color=colour(arm), markersize=14, markeredgewidth=1.4)
    several = frame["model"].nunique() > 1
    labels = [f"{model}: {name(arm)}" if several else name(arm) for (model, arm), _ in groups]
    axes.set_yticks(range(len(groups)), labels)
    axes.set(xlabel="milliseconds a step (bar: mean)", ylim=(len(groups) - 0.5, -0.5))
    if several:  # whose steps are of another order
        axes.set_xscale("log")
    else:
        axes.set_xlim(0, None)


def _ratios(axes: Axes, ratios: Sequence[Estimate]) -> None:
    called = {STEPS: "steps to the accuracy\nof the plain network", TIME: "time to that accuracy"}
    for row, each in enumerate(ratios):
        value, low, high = each.interval.value, each.interval.low, each.interval.high
        axes.plot([low, high], [row, row], color=colour(each.arm), linewidth=1.4)
        axes.plot([value], [row], "o", color=colour(each.arm), markersize=4.5)
        axes.annotate(
            f"{value:.2f}×", (value, row), (0, 5), textcoords="offset points", ha="center", fontsize=7.5,
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"},
        )  # fmt: skip
    axes.axvline(1, color="0.6", linewidth=0.6, linestyle=":")
    labels = [called.get(each.name, f"time of a step,\n{each.name.rpartition(', ')[2]}") for each in ratios]
    axes.set_yticks(range(len(ratios)), labels)
    axes.set(xscale="log", xlabel="ratio (95% interval)", ylim=(len(ratios) - 0.5, -0.6))
    bounds = np.array([(each.interval.low, each.interval.value, each.interval.high) for each in ratios])
    low, high = min(0.5, 0.85 * float(np.nanmin(bounds))), max(2.0, 1.15 * float(np.nanmax(bounds)))
    ticks = [2.0**power for power in range(-6, 7) if low <= 2.0**power <= high]
    axes.set_xlim(low, high)
    axes.set_xticks(ticks, [f"{tick:g}" if tick >= 1 else f"1/{1 / tick:g}" for tick in ticks])
    axes.minorticks_off()
