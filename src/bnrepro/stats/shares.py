"""Shares of the cells of a map, seed by seed, with their intervals over the seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bnrepro.stats.intervals import Interval, paired_difference


@dataclass(frozen=True)
class Share:
    """How many of the units apply (``of``), and how many of these are ``hits``, in every seed."""

    hits: tuple[int, ...]
    of: tuple[int, ...]

    @property
    def values(self) -> np.ndarray:
        """The share of every seed that has units (seeds,)."""
        return np.array([hits / of for hits, of in zip(self.hits, self.of, strict=True) if of])

    @property
    def agreed(self) -> bool:
        """Whether two or more seeds all give the same share, so that no interval can be computed."""
        return len(self.values) > 1 and not np.ptp(self.values)

    @property
    def interval(self) -> Interval:
        """Mean and Student interval over the seeds, cut at 0 and 1. Without bounds for one seed, or if all agree."""
        if not len(self.values):
            return Interval(math.nan, math.nan, math.nan, 0)
        mean = float(self.values.mean())
        if len(self.values) < 2 or self.agreed:
            return Interval(mean, math.nan, math.nan, len(self.values))
        found = paired_difference(self.values)
        return Interval(mean, max(found.low, 0.0), min(found.high, 1.0), found.n)

    @property
    def low(self) -> float:
        """What the rule takes for the lower end: the share itself where all seeds agree, NaN for one seed."""
        return float(self.values[0]) if self.agreed else self.interval.low

    @property
    def high(self) -> float:
        """What the rule takes for the upper end."""
        return float(self.values[0]) if self.agreed else self.interval.high

    def said(self, units: str) -> str:
        """``83% of cells (78% to 88%)``; where all seeds agree, or there is one, a count: ``33 of 33 cells …``."""
        found = self.interval
        if math.isfinite(found.low):
            return f"{100 * found.value:.0f}% of {units} ({100 * found.low:.0f}% to {100 * found.high:.0f}%)"
        if not found.n:
            return f"no {units}"
        seeds = "in the one seed" if found.n == 1 else f"in each of {found.n} seeds"
        counts = {(hits, of) for hits, of in zip(self.hits, self.of, strict=True) if of}
        if len(counts) == 1:
            [(hits, of)] = counts
            return f"{hits} of {of} {units} {seeds}"
        least, most = min(of for _, of in counts), max(of for _, of in counts)
        return f"{100 * found.value:.0f}% of the {least} to {most} {units} {seeds}"


@dataclass(frozen=True)
class Shares:
    """The shares ``beyond`` the margin, on the ``claimed`` side and on the ``other`` side.

    ``places`` is the least number of cells (or of rates, or scales) that any seed has.
    """

    beyond: Share
    claimed: Share
    other: Share
    places: int


def together(units: str, shown: Sequence[tuple[Share, str]]) -> str:
    """Several shares of the same units in one phrase.

    ``of 20 cells: 49% (42% to 56%) at 0.5× or below, none above 1×``; where every seed says the same of the same number
    of units, counts: ``of 20 cells: 15 at 0.5× or below, 0 above 1×, in each of 3 seeds``.
    """
    counts = {count for share, _ in shown for count in share.of if count}
    if not counts:
        return f"no {units} to judge"
    if len(counts) == 1 and all(len({*share.hits}) == 1 for share, _ in shown):
        parts = ", ".join(f"{share.hits[0]} {where}" for share, where in shown)
        n = shown[0][0].interval.n
        return f"of {counts.pop()} {units}: {parts}" + (f", in each of {n} seeds" if n > 1 else "")
    most, least = max(counts), min(counts)
    of = f"{most:,}" if most == least else f"{least:,} to {most:,}"
    return f"of {of} {units}: " + ", ".join(f"{_brief(share)} {where}" for share, where in shown)


def _brief(share: Share) -> str:
    """A share without its units: ``49% (42% to 56%)``, ``all``, ``none``, ``30% in every seed``."""
    found = share.interval
    if math.isfinite(found.low):
        return f"{100 * found.value:.0f}% ({100 * found.low:.0f}% to {100 * found.high:.0f}%)"
    if found.value in (0.0, 1.0):
        return "all" if found.value else "none"
    return f"{100 * found.value:.0f}%" + (" in every seed" if found.n > 1 else "")
