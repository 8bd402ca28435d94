"""Numbers formatted by unit: 0.53×, +0.21 points, 97.90%."""

from __future__ import annotations

import math

from bnrepro.stats.intervals import Estimate, Interval


def amount(interval: Interval | None, unit: str) -> str:
    """An estimate with its interval: 0.53× (0.47× to 0.60×), +0.21 points (+0.05 to +0.37); a dash for None."""
    if interval is None:
        return "–"
    value, low, high = (number(each, unit) for each in (interval.value, interval.low, interval.high))
    suffix = " points" if unit == "difference" else ""
    if math.isinf(interval.low) or math.isinf(interval.high) or (unit == "ratio" and interval.low == 0):
        return _bounded(interval, low, high) + suffix
    if interval.low == interval.high == interval.value:
        return value + suffix
    if math.isnan(interval.low):
        return f"{value}{suffix} (n = {interval.n}, no interval)"
    return f"{value}{suffix} ({low} to {high})"


def words(estimate: Estimate) -> str:
    """An estimate as a reader meets it: in its own words, or as :func:`amount`."""
    return estimate.said or amount(estimate.interval, estimate.unit)


def _bounded(interval: Interval, low: str, high: str) -> str:
    """A quantity that a grid bounds on one side, or on none."""
    if math.isinf(interval.high):
        unbounded = math.isinf(interval.low) or interval.low == 0
        return "not bounded by the grid" if unbounded else f"at least {low}"
    return f"at most {high}"


def number(value: float, unit: str) -> str:
    """One value of ``unit`` (see :class:`~bnrepro.stats.Estimate`); a dash if it is not finite."""
    if not math.isfinite(value):
        return "–"
    forms = {"ratio": f"{value:.3g}×", "share": f"{100 * value:.2f}%", "difference": f"{100 * value:+.2f}"}
    return forms.get(unit, f"{value:.4g}")


def times(interval: Interval) -> str:
    """A ratio for a sentence, with its interval if there is more than one seed."""
    return f"{interval.value:.3g}×" + (f" ({interval.low:.4g}× to {interval.high:.4g}×)" if interval.n > 1 else "")
