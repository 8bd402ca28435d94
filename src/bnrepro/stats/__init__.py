"""The statistics of the claims: intervals, curves, pairs, rules, maps, choices on validation. No torch, no drawing."""

from __future__ import annotations

from bnrepro.drift import drift, time_weighted_mean
from bnrepro.stats.adjusted import holm, p_value, sampling_error
from bnrepro.stats.amounts import amount, number, times, words
from bnrepro.stats.curves import FINAL_EVALUATIONS, curve, final, steps_to
from bnrepro.stats.intervals import CONFIDENCE, Estimate, Interval, exact, paired_difference, paired_ratio, share
from bnrepro.stats.maps import BOTH, NEITHER, ONLY_BASELINE, ONLY_TREATMENT, OnMap, Thresholds, share_estimates
from bnrepro.stats.pairing import BASELINE, Pairs, pair_by_seed
from bnrepro.stats.rules import (
    CONTRADICTED,
    DEPENDS,
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
from bnrepro.stats.shares import Share, Shares
