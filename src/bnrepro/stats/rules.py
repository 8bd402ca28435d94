"""Rules: the number that a claim was declared with, the verdict on an estimate, and the sentence that says so.

A rule is declared beside its claim, before the full runs. Margin, words and verdict all come from it, so that none of
them can say something else than the others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from bnrepro.stats.intervals import Interval

SUPPORTED, WEAKER, CONTRADICTED = "supported", "weaker", "contradicted"
INCONCLUSIVE, MEASURED, NOT_RUN = "inconclusive", "measured", "not run"
VERDICTS = (SUPPORTED, WEAKER, CONTRADICTED, INCONCLUSIVE, MEASURED, NOT_RUN)


class Rule(Protocol):
    """``margin`` is the declared number, None where nothing is claimed; ``exact`` marks an identity, not a sample."""

    exact: bool

    @property
    def margin(self) -> float | None: ...

    def verdict(self, interval: Interval, lost: int = 0, condition: bool | None = True) -> str:
        """The verdict on ``interval``.

        ``lost`` counts runs of the treatment that diverged or never reached the target: with any of them nothing is
        supported. ``condition`` is what a rule asks besides its number: False contradicts, None leaves it open.
        """
        ...

    def sentence(self, unit: str) -> str:
        """When the claim counts as supported, weaker and contradicted, for a number of ``unit``."""
        ...


def written(value: float, unit: str) -> str:
    """A margin in words: 0.5×, 10 points, 25%, 0.5."""
    if unit == "difference":
        return f"{100 * value:g} points" if value else "0"
    return {"ratio": f"{value:g}×", "share": f"{100 * value:g}%"}.get(unit, f"{value:g}")


@dataclass(frozen=True)
class _Beyond:
    """The whole interval beyond ``margin``, on one side of ``null``; without ``null`` the two are one number."""

    margin: float
    null: float | None = None
    exact = False
    _sign = 1

    def verdict(self, interval: Interval, lost: int = 0, condition: bool | None = True) -> str:
        """Beyond the margin, beyond the null, beyond it on the other side, or across."""
        if condition is not True:
            return CONTRADICTED if condition is False else INCONCLUSIVE
        if math.isnan(interval.low):
            return INCONCLUSIVE
        sign, null = self._sign, self.margin if self.null is None else self.null
        low, high = sorted((sign * interval.low, sign * interval.high))
        if low > sign * self.margin:
            return INCONCLUSIVE if lost else SUPPORTED
        if low > sign * null:
            return WEAKER
        return CONTRADICTED if high < sign * null else INCONCLUSIVE

    def sentence(self, unit: str) -> str:
        claimed, other = ("above", "below") if self._sign > 0 else ("below", "above")
        margin = written(self.margin, unit)
        if self.null is None or self.null == self.margin:
            return f"supported if the whole interval lies {claimed} {margin}, contradicted if it lies {other}"
        null = written(self.null, unit)
        return (
            f"supported if the whole interval lies {claimed} {margin}, weaker if {claimed} {null}, contradicted if "
            f"{other} {null}"
        )


class Above(_Beyond):
    """The whole interval above ``margin``; between ``null`` and it the claim is weaker, below ``null`` contradicted."""


class Below(_Beyond):
    """The whole interval below ``margin``; between it and ``null`` the claim is weaker, above ``null`` contradicted."""

    _sign = -1


@dataclass(frozen=True)
class Around:
    """The whole interval within ``margin`` of ``expected``; on its side of 0 weaker, on the other contradicted."""

    expected: float
    margin: float
    exact = False

    def verdict(self, interval: Interval, lost: int = 0, condition: bool | None = True) -> str:
        if condition is not True:
            return CONTRADICTED if condition is False else INCONCLUSIVE
        if math.isnan(interval.low):
            return INCONCLUSIVE
        if interval.low >= self.expected - self.margin and interval.high <= self.expected + self.margin:
            return INCONCLUSIVE if lost else SUPPORTED
        sign = 1 if self.expected > 0 else -1
        low, high = sorted((sign * interval.low, sign * interval.high))
        if low > 0:
            return WEAKER
        return CONTRADICTED if high < 0 else INCONCLUSIVE

    def sentence(self, unit: str) -> str:
        sign, other = ("above", "below") if self.expected > 0 else ("below", "above")
        return (
            f"supported if the whole interval lies within {written(self.margin, unit)} of "
            f"{written(self.expected, unit)}, weaker if {sign} 0, contradicted if {other} 0"
        )


@dataclass(frozen=True)
class Within:
    """An exact claim: supported if and only if the error is at most ``margin``; a NaN is no such error.

    ``and_also`` says in words what the ``condition`` asks besides.
    """

    margin: float
    and_also: str = ""
    exact = True

    def verdict(self, interval: Interval, lost: int = 0, condition: bool | None = True) -> str:
        if condition is not True:
            return CONTRADICTED if condition is False else INCONCLUSIVE
        if not interval.value <= self.margin:
            return CONTRADICTED
        return INCONCLUSIVE if lost else SUPPORTED

    def sentence(self, unit: str) -> str:
        limit = f"at most {written(self.margin, unit)}" if self.margin else "exactly 0"
        return f"supported if {limit}" + (f" and {self.and_also}" if self.and_also else "") + ", else contradicted"


@dataclass(frozen=True)
class Measured:
    """Nothing is claimed: the number is printed without a verdict."""

    margin = None
    exact = False

    def verdict(self, interval: Interval, lost: int = 0, condition: bool | None = True) -> str:
        return MEASURED

    def sentence(self, unit: str) -> str:
        return "measured, no margin is claimed"
