"""The statistics of the claims: intervals, curves, pairs, rules, choices on validation. No torch, no drawing."""

from __future__ import annotations

from bnrepro.drift import drift, time_weighted_mean
from bnrepro.stats.amounts import amount, number, times
from bnrepro.stats.curves import FINAL_EVALUATIONS, curve, final, steps_to
from bnrepro.stats.intervals import CONFIDENCE, Estimate, Interval, exact, paired_difference, paired_ratio, share
from bnrepro.stats.pairing import BASELINE, Pairs, pair_by_seed
from bnrepro.stats.rules import (
    CONTRADICTED,
    INCONCLUSIVE,
    MEASURED,
    NOT_RUN,
    SUPPORTED,
    VERDICTS,
    WEAKER,
    Above,
    Around,
    Below,
    Measured,
    Rule,
    Within,
)
