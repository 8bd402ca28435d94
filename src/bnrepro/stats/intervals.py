"""Estimates with their 95% intervals: paired differences, ratios, shares."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95% interval over ``n`` seeds; the bounds are NaN where n < 2."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Estimate:
    """One number of a claim. The ``primary`` one decides the verdict; the others are printed beside it."""

    name: str
    arm: str
    interval: Interval
    primary: bool = False
    unit: str = "ratio"
    """``ratio``, ``share`` (printed in percent), ``difference`` (of shares, in percentage points) or ``number``."""
    said: str = ""
    """The words that stand for the number and its interval, where these alone would not say it."""


def paired_difference(differences: ArrayLike) -> Interval:
    """Mean of paired differences (seeds,) with Student's t interval. Raises ``ValueError`` if empty or not finite."""
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


def paired_ratio(numerators: ArrayLike, denominators: ArrayLike) -> Interval:
    """Geometric mean of paired ratios, with the interval of their logs. Raises ``ValueError`` if not positive."""
    over, under = np.asarray(numerators, dtype=float), np.asarray(denominators, dtype=float)
    if (over <= 0).any() or (under <= 0).any():
        raise ValueError("ratios need positive values")
    logs = paired_difference(np.log(over) - np.log(under))
    return Interval(math.exp(logs.value), math.exp(logs.low), math.exp(logs.high), logs.n)


def share(successes: int, n: int) -> Interval:
    """A share of seeds with its Clopper–Pearson interval."""
    interval = stats.binomtest(successes, n).proportion_ci(CONFIDENCE, method="exact")
    return Interval(successes / n, float(interval.low), float(interval.high), n)


def exact(value: float) -> Interval:
    """A number measured exactly, with an interval of no width."""
    return Interval(value, value, value, 1)
