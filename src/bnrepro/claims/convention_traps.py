"""Readers' conventions and slips, each in place of the layer: what they cost at inference."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
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
NEAR = 4.0
"""Percentage points to either side that the nearer view shows."""
METRICS = {EVALUATION: "evaluation mode: running statistics", BY_BATCH: "statistics of the test batch"}

LOOKS = {EVALUATION: ("o", style.colour("batch"), -0.17), BY_BATCH: ("s", "#000000", 0.17)}
"""Metric → marker, colour, and its place within a variant's row."""


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
        sentence="Reversed momentum, another definition of the variance, γ and β that are never trained and "
        "the like cost accuracy at inference.",
        source="readers",
        metric="test accuracy in evaluation mode with the momentum the other way round, minus the reference's",
        unit="difference",
        network="MLP of §4.1",
        rule=Measured(),
        paper="not in the paper, which gives no momentum",
        deviation="short runs of the network of §4.1, with each variant's own defaults (momentum 0.1, ε = 1e-5)",
        figure="convention_traps_accuracy",
        numbers=convention_traps,
    ),
)


def figures(results: Results) -> dict[str, Figure]:
    """One row per variant, one marker per metric: percentage points against the reference; beside it, the same nearer.

    Both axes are linear. What lies beyond the nearer one stands at its edge as a number.
    """
    frame = measurement_of(results, NAME).frame
    figure, [axes] = style.canvas(style.PAGE, 3.1, 1, 2, sharey=True)
    by_metric = {metric: differences(frame, metric) for metric in METRICS}
    variants = list(dict.fromkeys(variant for found in by_metric.values() for variant in found))
    # An accuracy differs by a hundred points at most, though an interval over two seeds can be wider.
    for panel, reach in zip(axes, (100.0, NEAR), strict=True):
        panel.axvline(0, zorder=0, **style.GUIDE)
        for metric, found in by_metric.items():
            _gaps(panel, variants, found, metric, reach)
        panel.set_xlabel("test accuracy minus the reference's, points")
    axes[1].set_xlim(-NEAR, NEAR)
    axes[0].set_yticks(range(len(variants)), [_label(frame, variant) for variant in variants])
    axes[0].set_ylim(len(variants) - 0.4, -0.6)
    for panel in axes:
        panel.tick_params(axis="y", length=0)
    style.panel_letters(axes, ["all", f"within {NEAR:g} points"])
    style.legend_below(figure, axes[0], 2)
    steps, seeds = int(frame["steps"].max()), frame["seed"].nunique()
    note = style.summary("mean", seeds) + (" with its 95% interval" if seeds > 1 else "")
    figure.suptitle(f"{frame['data'].iloc[0]}, {steps:,} steps; {note}")
    return {"convention_traps_accuracy": figure}


def _gaps(axes: Axes, variants: list[str], found: dict[str, Interval], metric: str, reach: float) -> None:
    """A metric's differences in points, a row per variant; numbers at the edge for those beyond ``reach``."""
    marker, shade, offset = LOOKS[metric]
    inside = {}
    for row, variant in enumerate(variants):
        if variant not in found:
            continue
        value, low, high = (100 * each for each in (found[variant].value, found[variant].low, found[variant].high))
        if abs(value) > reach:
            edge = -1 if value < 0 else 1
            text = style.signed(value, 0)
            axes.annotate(
                f"← {text}" if edge < 0 else f"{text} →", (edge * reach, row + offset), (-4 * edge, 0),
                textcoords="offset points", ha="left" if edge < 0 else "right", va="center",
                **style.NOTE | {"color": shade},
            )  # fmt: skip
            continue
        inside[row + offset] = value
        axes.plot(np.clip([low, high], -reach, reach), [row + offset] * 2, color=shade, linewidth=1)
    face = shade if marker == "o" else "white"
    axes.plot(
        list(inside.values()), list(inside), marker, color=shade, markerfacecolor=face, markersize=4.5,
        label=METRICS[metric],
    )  # fmt: skip


def _label(frame: pd.DataFrame, variant: str) -> str:
    """A variant's name, with its steps if it trains for fewer than the others."""
    steps = int(frame.loc[frame["variant"] == variant, "steps"].max())
    return name(variant) if steps == frame["steps"].max() else f"{name(variant)}, {steps:,} steps"


DECLARED = Experiment(NAME, 230, CLAIMS, figures, any_normaliser=False)
