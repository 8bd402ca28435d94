"""Maps: one comparison in every cell of a grid, and one verdict over all of them.

The seeds are the replicates: each gives the shares of the cells that lie beyond the declared margin, on the claimed
side at all, and on the other side. The verdict is on the 95% intervals of these shares over the seeds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bnrepro.stats.intervals import Estimate, Interval
from bnrepro.stats.rules import (
    CONTRADICTED,
    DEPENDS,
    INCONCLUSIVE,
    SUPPORTED,
    WEAKER,
    Above,
    Below,
    Rule,
    written,
)
from bnrepro.stats.shares import Share, Shares, together

BOTH, ONLY_BASELINE, ONLY_TREATMENT, NEITHER = "both", "only baseline", "only treatment", "neither"
ROUNDING = 1e-9
"""0.3 ÷ 0.1 is three times as large, whatever the computer makes of it."""
CLASSES = (BOTH, ONLY_BASELINE, ONLY_TREATMENT, NEITHER)
"""Which arms train in a cell, in every seed."""


def classes(baseline: pd.DataFrame, treatment: pd.DataFrame) -> pd.Series:
    """The class of every cell (rows), from who passes in which seed (columns): an arm trains if it does in every one.

    Both frames are boolean and have the same cells and seeds.
    """
    plain, treated = baseline.all(axis=1), treatment.all(axis=1)
    names = np.select([plain & treated, plain, treated], [BOTH, ONLY_BASELINE, ONLY_TREATMENT], NEITHER)
    return pd.Series(names, index=baseline.index, dtype=object)


@dataclass(frozen=True)
class Thresholds:
    """When shares of cells decide. Declared with the rules that use them."""

    majority: float
    """More than this share of the cells makes a rule."""
    minority: float
    """Up to this share of the cells on the other side are exceptions."""
    both: float
    """From this share on either side the answer depends on the cell."""
    least: int
    """With fewer places than this, nothing is decided."""


@dataclass(frozen=True)
class OnMap(Rule):
    """The verdict over all cells: ``each`` is the declared margin within one, on an effect of unit ``effect``.

    ``units`` says what is counted: cells, or pairs of a cell and a target; ``places`` what there must be enough of.
    """

    each: Above | Below
    effect: str
    thresholds: Thresholds
    units: str = "cells"
    places: str = "cells"

    @property
    def margin(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.each.margin

    @property
    def null(self) -> float:
        """Where neither arm is better."""
        return self.each.tested

    def shares(self, low: pd.DataFrame, high: pd.DataFrame | None = None) -> Shares:
        """The shares from the effect in every unit (rows) and seed (columns); NaN where it does not apply.

        An effect read off a grid lies between ``low`` and ``high``, neither of which it can equal: it counts only where
        the whole interval does. The first two levels of the index, or the only one, name the place.
        """
        upper = low if high is None else high
        known = low.notna() & upper.notna()
        if self.each.claimed_below:
            low, upper = -upper, -low
        sign = -1.0 if self.each.claimed_below else 1.0
        margin, null = sign * self.margin, sign * self.null
        open_ends = low < upper
        claimed = (low > null) | (open_ends & (low >= null))
        other = (upper < null) | (open_ends & (upper <= null))
        beyond = claimed if margin == null else low >= margin - ROUNDING * max(abs(margin), 1.0)
        of = tuple(int(count) for count in known.sum())

        def share(hits: pd.DataFrame) -> Share:
            return Share(tuple(int(count) for count in (hits & known).sum()), of)

        levels = list(range(min(2, low.index.nlevels)))
        applies = known.groupby(level=levels).any()
        places = int(applies.sum().min()) if len(applies) and applies.shape[1] else 0
        return Shares(share(beyond), share(claimed), share(other), places)

    def verdict(self, found: Interval | Shares, lost: int = 0, condition: bool | None = True) -> str:
        """The verdict on the shares; ``lost`` is without effect: a run that never reaches a target is in the shares."""
        assert isinstance(found, Shares)
        return self.verdict_on(found) if condition is True else INCONCLUSIVE

    def verdict_on(self, found: Shares) -> str:
        """The verdict on the three shares."""
        asked = self.thresholds
        if found.places < asked.least:
            return INCONCLUSIVE
        if found.other.high <= asked.minority:
            if found.beyond.low > asked.majority:
                return SUPPORTED
            if found.claimed.low > asked.majority:
                return WEAKER
        if found.other.low > asked.majority and found.claimed.high <= asked.minority:
            return CONTRADICTED
        return DEPENDS if min(found.claimed.low, found.other.low) >= asked.both else INCONCLUSIVE

    def _verdict(self, interval: Interval) -> str:
        raise TypeError("a map is judged on its shares")

    def sentence(self, unit: str) -> str:
        asked = self.thresholds
        side, other = ("below", "above") if self.each.claimed_below else ("above", "below")
        margin, null = (written(value, self.effect) for value in (self.margin, self.null))
        most, few, either = (f"{100 * each:g}%" for each in (asked.majority, asked.minority, asked.both))
        if self.margin == self.null:
            claim = f"supported if more than {most} of the {self.units} lie {side} {null} and at most {few} {other} it"
        else:
            claim = (
                f"supported if more than {most} of the {self.units} lie at {margin} or {side} it, weaker if more than "
                f"{most} lie {side} {null}, either only if at most {few} lie {other} {null}"
            )
        return (
            f"{claim}; contradicted if more than {most} lie {other} {null} and at most {few} {side} it; depends if at "
            f"least {either} lie on either side; otherwise inconclusive, as with fewer than {asked.least} "
            f"{self.places}. A share counts with the end of its 95% interval over the seeds that is against the verdict"
        )


def share_estimates(rule: OnMap, found: Shares, arm: str, unit: str = "") -> list[Estimate]:
    """The three shares as estimates; the first is the primary one and says all three in words.

    ``unit`` is that of the margin where it is a plain number.
    """
    names = ("beyond the declared margin", "on the claimed side", "on the other side")
    shares = (found.beyond, found.claimed, found.other)
    side, other = ("below", "above") if rule.each.claimed_below else ("above", "below")
    margin, null = (f"{written(value, rule.effect)} {unit}".strip() for value in (rule.margin, rule.null))
    where = (f"at {margin} or {side}", f"{side} {null}", f"{other} {null}")
    shown = list(zip(shares, where, strict=True))[1 if rule.margin == rule.null else 0 :]
    texts = (together(rule.units, shown), *(share.said(rule.units) for share in shares[1:]))
    return [
        Estimate(f"share of {rule.units} {name}", arm, share.interval, name == names[0], "share", text)
        for name, share, text in zip(names, shares, texts, strict=True)
    ]
