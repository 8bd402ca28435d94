"""What each reader's variant of the layer costs, in evaluation mode and with the statistics of the batch."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bnrepro.claims.style import PAGE, canvas, colour
from bnrepro.stats import Interval, paired_difference
from bnrepro.tables import Results

REFERENCE = "ReferenceBatchNorm"
NAMES = {
    "SwappedMomentum": "momentum the other way round",
    "BiasedRunningVariance": "biased running variance",
    "UnbiasedTrainingVariance": "unbiased variance in training",
    "PlainTensorAffine": "γ and β outside the parameters",
    "NoAffine": "no γ and β",
    "DetachedStatistics": "statistics outside the gradient",
    "WholeTensorNorm": "one mean and variance for all features",
    "GraphedRunningMean": "running mean with its graph",
}
METRICS = {"accuracy": "evaluation mode: running statistics", "accuracy by batch": "statistics of the test batch"}


def name(variant: str) -> str:
    return NAMES.get(variant, variant)


def differences(frame: pd.DataFrame, metric: str) -> dict[str, Interval]:
    """By variant: its ``metric`` minus that of the reference after as many steps, over the seeds that have both."""
    values = frame[frame["metric"] == metric].set_index(["steps", "seed"])
    reference = values.loc[values["variant"] == REFERENCE, "value"]
    found = {}
    for variant, rows in values[values["variant"] != REFERENCE].groupby("variant", sort=False):
        both = (rows["value"] - reference).dropna()
        if len(both):
            found[str(variant)] = paired_difference(both.to_numpy())
    return found


def figures(results: Results) -> dict[str, Figure]:
    """One row a variant, two markers: percentage points against the reference, linear within one point of it."""
    found = results.measured("convention_traps")
    if found is None:
        return {}
    frame = found.frame
    figure, [[axes]] = canvas(PAGE, 2.9)
    by_metric = {metric: differences(frame, metric) for metric in METRICS}
    variants = list(by_metric["accuracy"])
    looks = {"accuracy": ("o", colour("batch"), -0.15), "accuracy by batch": ("s", "#000000", 0.15)}
    for metric, (marker, shade, offset) in looks.items():
        rows = np.arange(len(variants)) + offset
        intervals = [by_metric[metric][variant] for variant in variants]
        for row, each in zip(rows, intervals, strict=True):
            axes.plot([100 * each.low, 100 * each.high], [row, row], color=shade, linewidth=1)
        face = shade if marker == "o" else "white"
        points = [100 * each.value for each in intervals]
        axes.plot(points, rows, marker, color=shade, markerfacecolor=face, markersize=4.5, label=METRICS[metric])
    axes.axvline(0, color="0.6", linewidth=0.6, linestyle=":", zorder=0)
    axes.set_xscale("symlog", linthresh=1, linscale=1)
    # Two seeds can have an interval of thousands of points: no accuracy can differ by more than a hundred.
    low, high = np.clip(1.2 * np.array(axes.dataLim.intervalx), -110, 110)
    axes.set_xlim(min(low, -3), max(high, 3))
    ticks = [tick for tick in (-100, -30, -10, -3, -1, -0.5, 0, 0.5, 1, 3, 10, 30, 100) if low <= tick <= high]
    axes.set_xticks(ticks, [f"{tick:+g}".replace("-", "−") if tick else "0" for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks(range(len(variants)), [_called(frame, variant) for variant in variants])
    axes.tick_params(axis="y", length=0)
    axes.set(
        xlabel="test accuracy minus the reference's, percentage points (linear within ±1)",
        ylim=(len(variants) - 0.4, -0.6),
    )
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    steps, seeds = int(frame["steps"].max()), frame["seed"].nunique()
    figure.suptitle(
        f"{frame['data'].iloc[0]}, {steps:,} steps; mean of {seeds} seeds with its 95% interval", fontsize=8
    )
    return {"convention_traps_accuracy": figure}


def _called(frame: pd.DataFrame, variant: str) -> str:
    """A variant's name, with its steps where they are not as many as the others'."""
    steps = int(frame.loc[frame["variant"] == variant, "steps"].max())
    return name(variant) if steps == frame["steps"].max() else f"{name(variant)}, {steps:,} steps"
