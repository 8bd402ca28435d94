"""Rules: the number that a claim declares, the verdict on an estimate, and the sentence that explains both.

A rule is declared beside its claim, before the full runs. Margin, sentence and verdict come from one object, so that
they cannot contradict each other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from bnrepro.stats.intervals import Interval
from bnrepro.stats.shares import Shares

SUPPORTED, WEAKER, CONTRADICTED, DEPENDS = "supported", "weaker", "contradicted", "depends"
INCONCLUSIVE, MEASURED, NOT_RUN = "inconclusive", "measured", "not run"
VERDICTS = (SUPPORTED, WEAKER, DEPENDS, CONTRADICTED, INCONCLUSIVE, MEASURED, NOT_RUN)


class Rule(ABC):
    """``margin`` is the declared number, None if nothing is claimed; ``exact`` marks an identity, not a sample."""

    margin: float | None
    exact = False

    @property
    def tested(self) -> float | None:
        """The value that a test of the claim's one estimate takes for no effect; None if there is no such test."""
        return None

    def verdict(self, found: Interval | Shares, lost: int = 0, condition: bool | None = True) -> str:
        """The verdict on what was ``found``: an interval, or the shares of a map.

        ``lost`` counts runs of the treatment that diverged or never reached the target: with any of them nothing is
        supported. ``condition`` is what a rule asks besides its number: False contradicts, None is inconclusive.
        """
        if condition is not True:
            return CONTRADICTED if condition is False else INCONCLUSIVE
        assert isinstance(found, Interval)
        verdict = self._verdict(found)
        return INCONCLUSIVE if lost and verdict == SUPPORTED else verdict

    @abstractmethod
    def _verdict(self, interval: Interval) -> str:
        """The verdict on the number alone."""

    @abstractmethod
    def sentence(self, unit: str) -> str:
        """When the claim is supported, weaker and contradicted, for a number of ``unit``."""


def written(value: float, unit: str) -> str:
    """A margin in words: 0.5×, 10 points, 25%, 0.5."""
    if unit == "difference":
        return f"{100 * value:g} points" if value else "0"
    return {"ratio": f"{value:g}×", "share": f"{100 * value:g}%"}.get(unit, f"{value:g}")


def _side(interval: Interval, value: float) -> int:
    """1 if the whole interval lies above ``value``, -1 if below, 0 if it includes ``value`` or is NaN."""
    return int(interval.low > value) - int(interval.high < value)


UNSUPPORTED = {1: WEAKER, 0: INCONCLUSIVE, -1: CONTRADICTED}
"""The verdict short of the margin: 1 is the side of the null on which the claim lies."""


@dataclass(frozen=True)
class _Beyond(Rule):
    """The whole interval beyond ``margin``, on one side of ``null``, which is the margin by default."""

    margin: float
    null: float | None = None
    _sign = 1

    @property
    def claimed_below(self) -> bool:
        """Whether the claim lies below the margin."""
        return self._sign < 0

    @property
    def tested(self) -> float:
        return self.margin if self.null is None else self.null

    def _verdict(self, interval: Interval) -> str:
        if _side(interval, self.margin) == self._sign:
            return SUPPORTED
        return UNSUPPORTED[self._sign * _side(interval, self.tested)]

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
    """The whole interval above ``margin``; weaker between ``null`` and ``margin``, contradicted below ``null``."""


class Below(_Beyond):
    """The whole interval below ``margin``; weaker between ``margin`` and ``null``, contradicted above ``null``."""

    _sign = -1


@dataclass(frozen=True)
class Around(Rule):
    """The whole interval within ``margin`` of ``expected``; weaker on its side of 0, contradicted on the other."""

    expected: float
    margin: float

    @property
    def tested(self) -> float:
        return 0.0

    def _verdict(self, interval: Interval) -> str:
        if interval.low >= self.expected - self.margin and interval.high <= self.expected + self.margin:
            return SUPPORTED
        return UNSUPPORTED[(1 if self.expected > 0 else -1) * _side(interval, 0.0)]

    def sentence(self, unit: str) -> str:
        sign, other = ("above", "below") if self.expected > 0 else ("below", "above")
        return (
            f"supported if the whole interval lies within {written(self.margin, unit)} of "
            f"{written(self.expected, unit)}, weaker if {sign} 0, contradicted if {other} 0"
        )


@dataclass(frozen=True)
class Within(Rule):
    """An exact claim: supported if the error is at most ``margin``, else contradicted, also by NaN.

    ``and_also`` describes the ``condition`` in words.
    """

    margin: float
    and_also: str = ""
    exact = True

    def _verdict(self, interval: Interval) -> str:
        return SUPPORTED if interval.value <= self.margin else CONTRADICTED

    def sentence(self, unit: str) -> str:
        limit = f"at most {written(self.margin, unit)}" if self.margin else "exactly 0"
        return f"supported if {limit}" + (f" and {self.and_also}" if self.and_also else "") + ", else contradicted"


@dataclass(frozen=True)
class Measured(Rule):
    """Nothing is claimed: the number is printed without a verdict."""

    margin = None

    def verdict(self, found: Interval | Shares, lost: int = 0, condition: bool | None = True) -> str:
        return MEASURED

    def _verdict(self, interval: Interval) -> str:
        return MEASURED

    def sentence(self, unit: str) -> str:
        return "measured, no margin is claimed"
