"""Verdicts: where an interval lies against what was declared."""

from __future__ import annotations

import math

from bnrepro.stats.intervals import Interval

SUPPORTED, WEAKER, CONTRADICTED = "supported", "weaker", "contradicted"
INCONCLUSIVE, MEASURED, NOT_RUN = "inconclusive", "measured", "not run"
VERDICTS = (SUPPORTED, WEAKER, CONTRADICTED, INCONCLUSIVE, MEASURED, NOT_RUN)


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
