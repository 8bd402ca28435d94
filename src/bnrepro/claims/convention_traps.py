"""Readers' conventions and slips, each in place of the layer: what they cost at inference."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bnrepro.claims import style
from bnrepro.claims.claim import Claim, Evidence, Experiment, Inapplicable, measurement_of
from bnrepro.stats import Estimate, Interval, Measured, paired_difference
from bnrepro.tables import Results

NAME = "convention_traps"
REFERENCE = "ReferenceBatchNorm"
DECIDES, GRAPHED = "SwappedMomentum", "GraphedRunningMean"
UNTRAINED, NO_AFFINE = "PlainTensorAffine", "NoAffine"
NAMES = {
    DECIDES: "momentum the other way round",
    "BiasedRunningVariance": "biased running variance",
    "UnbiasedTrainingVariance": "unbiased variance in training",
    UNTRAINED: "γ and β outside the parameters",
    NO_AFFINE: "no γ and β",
    "DetachedStatistics": "statistics outside the gradient",
    "WholeTensorNorm": "one mean and variance for all features",
    GRAPHED: "running mean with its graph",
}
EVALUATION, BY_BATCH = "accuracy", "accuracy by batch"
METRICS = {EVALUATION: "evaluation mode: running statistics", BY_BATCH: "statistics of the test batch"}


def convention_traps(results: Results) -> Evidence:
    frame = measurement_of(results, NAME).frame
    if DECIDES not in differences(frame, EVALUATION):
        raise Inapplicable(f"no seed in which both {DECIDES} and the reference came to their end")
    estimates, values = [], {}
    for metric, label in METRICS.items():
        for variant, interval in differences(frame, metric).items():
            decides = (metric, variant) == (EVALUATION, DECIDES)
            estimates.append(Estimate(f"{name(variant)}; {label}", variant, interval, decides, "difference"))
    longest = frame[frame["steps"] == frame["steps"].max()]
    for metric, label in METRICS.items():
        rows = longest[longest["metric"] == metric].pivot(index="seed", columns="variant", values="value")
        values[metric] = rows
        reference = paired_difference(rows[REFERENCE].dropna())
        estimates.append(Estimate(f"test accuracy of the reference; {label}", REFERENCE, reference, unit="share"))
    notes = _graph_notes(frame)
    for variant, rows in frame[frame["metric"] == "diverged"].groupby("variant", sort=False):
        notes.append(f"{len(rows)} of {frame['seed'].nunique()} runs diverged: {name(str(variant))}")
    accuracy = values[EVALUATION]
    if {UNTRAINED, NO_AFFINE} <= set(accuracy) and accuracy[UNTRAINED].equals(accuracy[NO_AFFINE]):
        notes.append("γ and β outside the parameters: to the digit the layer without them, since nothing trains them")
    [label] = frame["data"].unique()
    notes.append(f"{label}; {frame['steps'].max():,} steps, the network, rate and start of mnist_training")
    return Evidence(estimates, notes, accuracy)


def name(variant: str) -> str:
    return NAMES.get(variant, variant)


def differences(frame: pd.DataFrame, metric: str) -> dict[str, Interval]:
    """By variant: its ``metric`` minus the reference's after as many steps, over the seeds that have both."""
    values = frame[frame["metric"] == metric].set_index(["steps", "seed"])
    reference = values.loc[values["variant"] == REFERENCE, "value"]
    found = {}
    for variant, rows in values[values["variant"] != REFERENCE].groupby("variant", sort=False):
        both = (rows["value"] - reference).dropna()
        if len(both):
            found[str(variant)] = paired_difference(both)
    return found


def _graph_notes(frame: pd.DataFrame) -> list[str]:
    rows = frame[frame["variant"] == GRAPHED]
    if not len(rows):
        return []
    values = rows.groupby("metric")["value"].mean()
    copied = "could be copied" if values["can be copied"] == 1 else "could not be copied"
    return [
        f"{name(GRAPHED)}: after {rows['steps'].max():,} steps it held {values['graph nodes per step']:.0f} autograd "
        f"nodes for every step so far, and the network {copied}; its accuracy is compared after as many steps"
    ]


CLAIMS = (
    Claim(
        slug="convention_traps",
        group="B",
        origin="readers",
        sentence="Momentum the other way round, another variance, γ and β that nothing trains and the like cost "
        "accuracy at inference.",
        source="readers",
        metric="test accuracy in evaluation mode with the momentum the other way round, minus the reference's",
        unit="difference",
        rule=Measured(),
        paper="not in the paper, which gives no momentum",
        deviation="short runs of the network of §4.1, with each variant's own defaults (momentum 0.1, ε = 1e-5)",
        figure="convention_traps_accuracy",
        numbers=convention_traps,
    ),
)


def figures(results: Results) -> dict[str, Figure]:
    """One row per variant, one marker per metric: percentage points against the reference, linear within ±1."""
    frame = measurement_of(results, NAME).frame
    figure, [[axes]] = style.canvas(style.PAGE, 2.9)
    by_metric = {metric: differences(frame, metric) for metric in METRICS}
    variants = list(by_metric[EVALUATION])
    looks = {EVALUATION: ("o", style.colour("batch"), -0.15), BY_BATCH: ("s", "#000000", 0.15)}
    for metric, (marker, shade, offset) in looks.items():
        rows = np.arange(len(variants)) + offset
        intervals = [by_metric[metric][variant] for variant in variants]
        for row, each in zip(rows, intervals, strict=True):
            axes.plot([100 * each.low, 100 * each.high], [row, row], color=shade, linewidth=1)
        face = shade if marker == "o" else "white"
        points = [100 * each.value for each in intervals]
        axes.plot(points, rows, marker, color=shade, markerfacecolor=face, markersize=4.5, label=METRICS[metric])
    axes.axvline(0, zorder=0, **style.GUIDE)
    axes.set_xscale("symlog", linthresh=1, linscale=1)
    # Two seeds can have an interval of thousands of points, though accuracies differ by a hundred at most.
    low, high = np.clip(1.2 * np.array(axes.dataLim.intervalx), -110, 110)
    axes.set_xlim(min(low, -3), max(high, 3))
    ticks = [tick for tick in (-100, -30, -10, -3, -1, -0.5, 0, 0.5, 1, 3, 10, 30, 100) if low <= tick <= high]
    axes.set_xticks(ticks, [f"{tick:+g}".replace("-", "−") if tick else "0" for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks(range(len(variants)), [_label(frame, variant) for variant in variants])
    axes.tick_params(axis="y", length=0)
    axes.set(
        xlabel="test accuracy minus the reference's, percentage points (linear within ±1)",
        ylim=(len(variants) - 0.4, -0.6),
    )
    style.legend_below(figure, axes, 2)
    steps, seeds = int(frame["steps"].max()), frame["seed"].nunique()
    figure.suptitle(f"{frame['data'].iloc[0]}, {steps:,} steps; mean of {seeds} seeds with its 95% interval")
    return {"convention_traps_accuracy": figure}


def _label(frame: pd.DataFrame, variant: str) -> str:
    """A variant's name, with its steps if it trains for fewer than the others."""
    steps = int(frame.loc[frame["variant"] == variant, "steps"].max())
    return name(variant) if steps == frame["steps"].max() else f"{name(variant)}, {steps:,} steps"


DECLARED = Experiment(NAME, 230, CLAIMS, figures, any_normaliser=False)
