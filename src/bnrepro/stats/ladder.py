"""Where on a ladder of rates an arm stops training: never a number, but an interval between two rungs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bnrepro.stats import censored
from bnrepro.stats.intervals import Interval
from bnrepro.stats.rules import CONTRADICTED, INCONCLUSIVE, SUPPORTED, WEAKER, Rule, written

DIGITS = 9
"""Significant digits of a ratio of rungs: 0.6 / 0.2 is 3."""


@dataclass(frozen=True)
class Bracket:
    """A limit that lies at or above ``low``, which trains, and below ``high``, which does not.

    ``low`` is 0 where the lowest rung fails, ``high`` infinite where the highest trains: the ladder gives a bound.
    """

    low: float
    high: float


def bracket(trains: Mapping[float, bool]) -> Bracket:
    """The limit of one seed, from whether it trains at each rung. Raises ``ValueError`` without a rung.

    ``low`` is the last rung below the first that fails, ``high`` the first above the last that trains: where a rung
    trains above one that fails, the bracket holds both.
    """
    if not trains:
        raise ValueError("a ladder has at least one rung")
    failing = [rung for rung in trains if not trains[rung]]
    training = [rung for rung in trains if trains[rung]]
    low = max((rung for rung in training if rung < min(failing, default=math.inf)), default=0.0)
    high = min((rung for rung in failing if rung > max(training, default=0.0)), default=math.inf)
    return Bracket(low, high)


def ratio(over: Bracket, under: Bracket) -> Bracket:
    """The ratio of two limits: above ``low`` and below ``high``, neither of which it can equal."""
    low, high = censored.ratio_bounds((over.low, over.high), (under.low, under.high))
    return Bracket(_rounded(low), _rounded(high))


def across_seeds(brackets: Sequence[Bracket]) -> Interval:
    """The geometric mean of limits, or of ratios of limits, over seeds, each known to lie in a bracket.

    The interval reaches from the lower 95% bound of the brackets' low ends to the upper one of their high ends
    (Student's t, of the logarithms): seeds that agree leave the width of the ladder, not 0. An end that is 0 or
    infinite in one seed is so in the interval. The value is the middle of the mean bracket, or its known end.
    """
    found = censored.over_seeds([each.low for each in brackets], [each.high for each in brackets], log=True)
    if found.n < 2:
        return Interval(_rounded(found.value), math.nan, math.nan, found.n)
    return Interval(_rounded(found.value), _rounded(found.low), _rounded(found.high), found.n)


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


@dataclass(frozen=True)
class Beyond(Rule):
    """For a ratio of limits, which lies strictly inside its interval: whose low end may equal ``margin``.

    Supported from ``margin`` on, weaker from ``null`` on, contradicted if the high end is at most ``null``.
    """

    margin: float
    null: float

    def _verdict(self, interval: Interval) -> str:
        if interval.low >= self.margin:
            return SUPPORTED
        if interval.low >= self.null:
            return WEAKER
        return CONTRADICTED if interval.high <= self.null else INCONCLUSIVE

    def sentence(self, unit: str) -> str:
        margin, null = written(self.margin, unit), written(self.null, unit)
        return (
            f"supported if the interval, which the steps of the ladder leave open at both ends, lies above {margin}, "
            f"weaker if above {null}, contradicted if below {null}"
        )
