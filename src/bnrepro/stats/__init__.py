"""The arithmetic behind every claim: intervals, curves, pairs, rules, choices on validation. No torch, no drawing."""

from __future__ import annotations

from bnrepro.stats.curves import FINAL_EVALUATIONS, curve, final, steps_to, time_weighted_mean
from bnrepro.stats.intervals import CONFIDENCE, Estimate, Interval, paired_difference, paired_ratio, share
from bnrepro.stats.rules import (
    CONTRADICTED,
    INCONCLUSIVE,
    MEASURED,
    NOT_RUN,
    SUPPORTED,
    VERDICTS,
    WEAKER,
    verdict,
)

__all__ = [
    "CONFIDENCE",
    "CONTRADICTED",
    "FINAL_EVALUATIONS",
    "INCONCLUSIVE",
    "MEASURED",
    "NOT_RUN",
    "SUPPORTED",
    "VERDICTS",
    "WEAKER",
    "Estimate",
    "Interval",
    "curve",
    "final",
    "paired_difference",
    "paired_ratio",
    "share",
    "steps_to",
    "time_weighted_mean",
    "verdict",
]
