"""Quantities read off a grid: each lies between two of its points, and beyond its edge only a bound is known.

A limit is an open interval (low, high): the largest rate that trains is at least the grid's last passing point and
less than the next. At the edge of the grid ``high`` is infinite, or ``low`` is zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from bnrepro.stats.intervals import Interval, paired_difference

Bounds = tuple[float, float]


def decades(values: Sequence[float]) -> list[float]:
    """Places on a logarithmic axis, to a tenth of a decade: a grid of half-decades is labelled 0.01, 0.03, 0.1."""
    return [round(math.log10(value), 1) for value in values]


def largest_passing(grid: Sequence[float], passed: Sequence[bool]) -> Bounds | None:
    """Between which points of the rising ``grid`` the largest passing value lies; None if none passes."""
    found = [place for place, each in enumerate(passed) if each]
    if not found:
        return None
    return grid[found[-1]], grid[found[-1] + 1] if found[-1] + 1 < len(grid) else math.inf


def ratio_bounds(over: Bounds, under: Bounds) -> Bounds:
    """The bounds of the ratio of two quantities that are known by theirs."""
    low = 0.0 if math.isinf(under[1]) else over[0] / under[1]
    return low, math.inf if math.isinf(over[1]) or under[0] == 0 else over[1] / under[0]


def difference_bounds(one: Bounds, other: Bounds) -> Bounds:
    """The bounds of the difference of two quantities that are known by theirs."""
    return one[0] - other[1], one[1] - other[0]


def span_bounds(grid: Sequence[float], passed: Sequence[bool]) -> Bounds | None:
    """The width of the widest unbroken stretch of the rising ``grid`` that passes; None if nothing passes.

    Each end lies between a point that passes and the next that does not. A stretch that touches an edge of the grid has
    no upper bound.
    """
    stretches, start = [], None
    for place, each in enumerate([*passed, False]):
        if each and start is None:
            start = place
        elif not each and start is not None:
            stretches.append((start, place - 1))
            start = None
    if not stretches:
        return None
    first, last = max(stretches, key=lambda ends: grid[ends[1]] - grid[ends[0]])
    edge = first == 0 or last == len(grid) - 1
    return grid[last] - grid[first], math.inf if edge else grid[last + 1] - grid[first - 1]


def over_seeds(lows: ArrayLike, highs: ArrayLike, log: bool = False) -> Interval:
    """One interval from the bounds of every seed: the lower end of the lows' mean, the upper end of the highs' mean.

    The grid and the seeds both widen it, so that it has no width of 0. The value is the middle, or the finite bound.
    With ``log`` they are ratios. Raises ``ValueError`` if empty.
    """
    below, above = np.asarray(lows, dtype=float), np.asarray(highs, dtype=float)
    if log:
        with np.errstate(divide="ignore"):
            below, above = np.log(below), np.log(above)
    low, high = _end(below, -1), _end(above, 1)
    known = [each.mean() for each in (below, above) if np.isfinite(each).all()]
    middle = float(np.mean(known)) if known else math.nan
    found = [middle, low, high]
    value, low, high = (math.inf if each == math.inf else math.exp(each) for each in found) if log else found
    return Interval(float(value), float(low), float(high), below.size)


def _end(bounds: np.ndarray, side: int) -> float:
    """The outer end of the 95% interval of the mean of ``bounds``, on ``side``; infinite if one of them is."""
    if bounds.size == 0:
        raise ValueError("at least one seed is needed")
    if not np.isfinite(bounds).all():
        return side * math.inf
    found = paired_difference(bounds)
    return found.value if found.n < 2 else (found.high if side > 0 else found.low)
