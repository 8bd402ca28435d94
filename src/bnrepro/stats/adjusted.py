"""p-values of the claims that have one estimate, adjusted for their number by Holm's method."""

from __future__ import annotations

import math
from collections.abc import Mapping

from scipy import stats

from bnrepro.stats.intervals import CONFIDENCE, Interval

SYMMETRY = 1e-3
"""A Student interval reaches equally far to both sides of its estimate, up to this share of its width."""


def p_value(interval: Interval, null: float, log: bool = False) -> float | None:
    """Two-sided p of Student's t test that the mean is ``null``, from its 95% interval; ``log`` for ratios.

    None where the interval is not Student's: it has no width, no bounds, or is not symmetric, as one of a share or of
    a quantity read off a grid.
    """
    parts = (interval.value, interval.low, interval.high, null)
    if interval.n < 2 or not all(map(math.isfinite, parts)) or (log and min(parts) <= 0):
        return None
    value, low, high, null = map(math.log, parts) if log else parts
    if low == high or abs((low + high) / 2 - value) > SYMMETRY * (high - low):
        return None
    freedom = interval.n - 1
    error = (high - low) / 2 / stats.t.ppf((1 + CONFIDENCE) / 2, freedom)
    return float(2 * stats.t.sf(abs(value - null) / error, freedom))


def holm(values: Mapping[str, float]) -> dict[str, float]:
    """Holm's adjusted p of every name: the family-wise error stays below any level that they are compared with."""
    adjusted: dict[str, float] = {}
    largest = 0.0
    for place, (name, value) in enumerate(sorted(values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, (len(values) - place) * value))
        adjusted[name] = largest
    return {name: adjusted[name] for name in values}


def sampling_error(accuracy: float, images: int) -> float:
    """Binomial standard error of an accuracy on ``images`` test images."""
    return math.sqrt(accuracy * (1 - accuracy) / images)
