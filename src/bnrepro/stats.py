"""Paired intervals, steps to a target, verdicts: the arithmetic behind every claim (rules: CLAIMS in the report)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

CONFIDENCE = 0.95
FINAL_EVALUATIONS = 5

SUPPORTED, WEAKER, CONTRADICTED = "supported", "weaker", "contradicted"
INCONCLUSIVE, MEASURED, NOT_RUN = "inconclusive", "measured", "not run"
VERDICTS = (SUPPORTED, WEAKER, CONTRADICTED, INCONCLUSIVE, MEASURED, NOT_RUN)


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95% interval over ``n`` seeds; the bounds are NaN where n < 2."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Estimate:
    """One number of a claim. The one that decides the verdict is ``primary``; the others are printed beside it."""

    name: str
    arm: str
    interval: Interval
    primary: bool = False
    unit: str = "ratio"
    """``ratio``, ``share`` (printed in percent), ``difference`` (of shares, in percentage points) or ``number``."""


def paired_difference(differences: Sequence[float] | np.ndarray) -> Interval:
    """Mean of paired differences with Student's t interval. Raises ``ValueError`` for an empty or non-finite one."""
    sample = np.asarray(differences, dtype=float)
    if sample.size == 0 or not np.isfinite(sample).all():
        raise ValueError("paired differences must be finite, and at least one")
    mean = float(sample.mean()) if np.ptp(sample) else float(sample[0])
    if sample.size < 2:
        return Interval(mean, math.nan, math.nan, 1)
    if not np.ptp(sample):
        return Interval(mean, mean, mean, sample.size)
    interval = stats.ttest_1samp(sample, 0.0).confidence_interval(CONFIDENCE)
    return Interval(mean, float(interval.low), float(interval.high), sample.size)


def paired_ratio(numerators: Sequence[float] | np.ndarray, denominators: Sequence[float] | np.ndarray) -> Interval:
    """Geometric mean of paired ratios, its interval that of the log-ratios. All values must be positive."""
    over, under = np.asarray(numerators, dtype=float), np.asarray(denominators, dtype=float)
    if (over <= 0).any() or (under <= 0).any():
        raise ValueError("ratios need positive values")
    logs = paired_difference(np.log(over) - np.log(under))
    return Interval(math.exp(logs.value), math.exp(logs.low), math.exp(logs.high), logs.n)


def share(successes: int, n: int) -> Interval:
    """A share of seeds with its Clopper–Pearson interval."""
    interval = stats.binomtest(successes, n).proportion_ci(CONFIDENCE, method="exact")
    return Interval(successes / n, float(interval.low), float(interval.high), n)


def verdict(interval: Interval, *, zero: float, margin: float, claimed: str) -> str:
    """Where the whole interval lies: beyond the margin, beyond zero, beyond it on the other side, or across.

    ``claimed`` is ``"above"`` or ``"below"``: on which side of ``zero`` the claim expects the value.
    """
    if claimed not in ("above", "below"):
        raise ValueError(f"claimed={claimed!r}: 'above' or 'below'")
    if math.isnan(interval.low):
        return INCONCLUSIVE
    sign = 1 if claimed == "above" else -1
    low, high = sorted((sign * interval.low, sign * interval.high))
    if low > sign * margin:
        return SUPPORTED
    if low > sign * zero:
        return WEAKER
    if high < sign * zero:
        return CONTRADICTED
    return INCONCLUSIVE


# ---------------------------------------------------------------------------------------------------- curves


def curve(metrics: pd.DataFrame, split: str, metric: str) -> pd.DataFrame:
    """One metric as columns of runs over rows of steps; NaN where a run was not evaluated (any more)."""
    chosen = metrics[(metrics["split"] == split) & (metrics["metric"] == metric)]
    return chosen.pivot(index="step", columns="run", values="value")


def final(curves: pd.DataFrame) -> pd.Series:
    """Per run the mean of its last five evaluations."""
    return pd.Series({run: curves[run].dropna().tail(FINAL_EVALUATIONS).mean() for run in curves}, dtype=float)


def steps_to(curves: pd.DataFrame, target: float | pd.Series, *, falling: bool = False) -> pd.Series:
    """Per run the step of its first evaluation at or above ``target`` (at or below, if ``falling``); NaN if never.

    ``target`` is one number, or one per run. A target reached at step 0 counts as one step, so that ratios exist.
    """
    found = {}
    for run in curves.columns:
        column = curves[run].dropna()
        goal = target[run] if isinstance(target, pd.Series) else target
        reached = column.index[(column <= goal) if falling else (column >= goal)]
        found[run] = max(float(reached[0]), 1.0) if len(reached) else math.nan
    return pd.Series(found, dtype=float)


def time_weighted_mean(values: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Mean over training of ``values`` (steps, …) seen at ``steps``, by the trapezoidal rule."""
    return np.trapezoid(values, steps, axis=0) / (steps[-1] - steps[0])
