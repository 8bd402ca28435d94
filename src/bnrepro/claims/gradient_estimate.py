"""§1: a mini-batch's gradient as an estimate of the training set's, and what it costs."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bnrepro.claims.base import Claim, Estimate, Experiment, Judgement, measured
from bnrepro.pictures import gradient_estimate as pictures
from bnrepro.stats import (
    CONTRADICTED,
    INCONCLUSIVE,
    SUPPORTED,
    WEAKER,
    Interval,
    paired_difference,
    paired_ratio,
)

NAME = "gradient_estimate"
EXPECTED, MARGIN = -0.5, 0.1
ARM = "none"


@measured(NAME)
def gradient_estimate(frame: pd.DataFrame) -> Judgement:
    errors, speeds = (
        frame[frame["metric"] == metric].pivot(index="repetition", columns="batch", values="value")
        for metric in ("error", "examples per second")
    )
    slopes = errors.apply(slope, axis=1)
    primary = paired_difference(slopes.to_numpy())
    estimates = [Estimate("slope of the relative error", ARM, primary, True, "number")]
    sizes = [size for size in (1, 64, 4096) if size in errors] or [errors.columns.min()]
    for size in sizes:
        error = paired_difference(errors[size].to_numpy())
        estimates.append(Estimate(f"relative error, {size} examples a batch", ARM, error, unit="number"))
    smallest = speeds.columns.min()
    for size in (size for size in sizes if size != smallest):
        gain = paired_ratio(speeds[size].to_numpy(), speeds[smallest].to_numpy())
        estimates.append(Estimate(f"examples per second, {size} a batch over {smallest}", ARM, gain))
    [label] = frame["data"].unique()
    notes = [
        f"{label}; one network a repetition, trained for some hundred steps, and mini-batches of its own",
        f"{speeds[smallest].median():,.0f} examples a second at {smallest} a batch, "
        f"{speeds.median().max():,.0f} at {speeds.median().idxmax()}: forward and backward pass, one thread",
    ]
    listed = errors[sizes].add_prefix("error at ").assign(slope=slopes)
    return Judgement(within(primary), estimates, notes, listed)


def slope(errors: pd.Series) -> float:
    """Exponent of the batch size (index) in the errors, by least squares of their logarithms."""
    return float(np.polyfit(np.log(errors.index.to_numpy(dtype=float)), np.log(errors.to_numpy(dtype=float)), 1)[0])


def within(interval: Interval) -> str:
    """Supported if the whole interval lies within the margin on both sides of −1/2; weaker if the error shrinks."""
    if np.isnan(interval.low):
        return INCONCLUSIVE
    if interval.low >= EXPECTED - MARGIN and interval.high <= EXPECTED + MARGIN:
        return SUPPORTED
    if interval.high < 0:
        return WEAKER
    return CONTRADICTED if interval.low > 0 else INCONCLUSIVE


CLAIMS = (
    Claim(
        slug="gradient_estimate",
        group="C",
        sentence="The gradient of a mini-batch estimates that of the training set, and its error shrinks with the "
        "root of the batch's size; a batch costs less than as many examples one by one.",
        source="§1; readers",
        experiment=NAME,
        metric="exponent of the batch size in the relative error of the gradient, batches of 1 to 4,096",
        rule="exponent within −1/2 ± 0.1",
        margin=MARGIN,
        paper="a sentence; no number is given",
        deviation="the network of §4.1 without Batch Normalization, after some hundred steps of training at the shared "
        "rate; mini-batches drawn with replacement",
        figure="gradient_estimate_error",
        judge=gradient_estimate,
    ),
)

DECLARED = Experiment(NAME, CLAIMS, pictures.figures, exam=False)
