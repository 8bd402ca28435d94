"""The small picture beside each claim: its estimate against "no effect" in the middle, the claimed side on the right.

Places are percentages of the picture's width, so that one page style draws every kind of claim.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from bnrepro.claims import Claim, Judgement
from bnrepro.stats import Above, Around, Below, Interval, OnMap, Within

MIDDLE, ROOM = 50.0, 46.0
"""Where "no effect" lies, and how far the picture reaches to either side of it."""
DECADES = 8.0
"""Powers of ten below the tolerance at which the error of an identity reaches the edge."""


@dataclass(frozen=True)
class Picture:
    """``bars`` (from, to, kind) and ``dot`` are the estimate, ``ticks`` the declared margin, rising; all in percent."""

    bars: list[tuple[float, float, str]] = field(default_factory=list)
    dot: float | None = None
    ticks: list[float] = field(default_factory=list)


def picture(claim: Claim, judgement: Judgement) -> Picture | None:
    """The picture of a claim's deciding estimate; None where there is no number."""
    primary = judgement.primary
    if primary is None or not math.isfinite(primary.interval.value):
        return None
    rule, found = claim.rule, primary.interval
    if isinstance(rule, OnMap):
        shares = judgement.evidence.shares
        assert shares is not None
        beyond, claimed, other = (each.interval.value for each in (shares.beyond, shares.claimed, shares.other))
        bars = [(MIDDLE - ROOM * other, MIDDLE, "other"), (MIDDLE, MIDDLE + ROOM * claimed, "claimed"),
                (MIDDLE, MIDDLE + ROOM * beyond, "beyond")]  # fmt: skip
        return Picture([bar for bar in bars if bar[0] < bar[1]])
    if isinstance(rule, Within):
        return Picture(dot=_exact(found.value, rule.margin))
    ratio = primary.unit == "ratio"
    scale: Callable[[float], float] = _log if ratio else float
    null, margins, sign = 1.0 if ratio else 0.0, [], 1.0
    if isinstance(rule, Above | Below):
        null, margins, sign = rule.tested, [rule.margin], -1.0 if rule.claimed_below else 1.0
    elif isinstance(rule, Around):
        null, sign = 0.0, math.copysign(1.0, rule.expected)
        margins = [rule.expected - rule.margin, rule.expected + rule.margin]
    return _interval(found, null, [each for each in margins if each != null], sign, scale)


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def _interval(
    found: Interval, null: float, margins: list[float], sign: float, scale: Callable[[float], float]
) -> Picture:
    """Each picture has a scale of its own, on which everything fits that is finite."""
    place = [sign * (scale(each) - scale(null)) for each in (found.value, found.low, found.high, *margins)]
    reach = max((abs(each) for each in place if math.isfinite(each)), default=0.0) or 1.0

    def at(distance: float) -> float:
        return MIDDLE + ROOM * max(-1.0, min(1.0, distance / reach))

    value, low, high, *ticks = place
    ends = sorted((low, high))
    bars = [] if math.isnan(low) or math.isnan(high) or low == high else [(at(ends[0]), at(ends[1]), "interval")]
    return Picture(bars, at(value), sorted(at(each) for each in ticks))


def _exact(error: float, tolerance: float) -> float:
    """To the right of the middle if the error is below the tolerance, by its distance in powers of ten."""
    if error <= tolerance:
        below = math.inf if error == 0 else math.log10(tolerance / error)
    else:
        below = -math.inf if tolerance == 0 else -math.log10(error / tolerance)
    return MIDDLE + ROOM * max(-1.0, min(1.0, below / DECADES))
