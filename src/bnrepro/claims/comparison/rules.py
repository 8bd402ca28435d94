"""The declared rules of the comparison of normalisers, committed before its runs and not retuned after.

Every normaliser is asked what Batch Normalization is asked, with the margins of its claims. The map of the profile
``exam`` has 30 cells instead of 72, five rates instead of nine, and three seeds instead of five, so that an answer
needs fewer of them; all other thresholds are those of the map. Its grid is the half-decades around the plain network's
best cell (scale 0.1, rate 1), chosen with the map of Batch Normalization and of no other normaliser in view.
"""

from __future__ import annotations

from dataclasses import replace

from bnrepro.claims.operating_points import rules
from bnrepro.stats import Above, Below, Measured, OnMap, Rule

CELLS = replace(rules.CELLS, least=6)
"""Of 30."""
RATES = replace(rules.RATES, least=3)
"""Of five."""
SCALES = rules.SCALES
"""Of the five of stability_limit, as for Batch Normalization."""

ON_MAP: dict[str, Rule] = {
    "faster_training": replace(rules.FASTER_TRAINING, thresholds=CELLS),
    "higher_accuracy": replace(rules.HIGHER_ACCURACY, thresholds=CELLS),
    "lower_training_loss": replace(rules.LOWER_TRAINING_LOSS, thresholds=CELLS),
    "stable_inputs": replace(rules.STABLE_INPUTS, thresholds=CELLS),
    "activation_distribution": replace(rules.ACTIVATION_DISTRIBUTION, thresholds=CELLS),
    "robust_to_init": replace(rules.ROBUST_TO_INIT, thresholds=RATES),
    "parameter_growth": replace(rules.PARAMETER_GROWTH, thresholds=CELLS),
    "gain_needs_large_rates": rules.GAIN_NEEDS_LARGE_RATES,
}
"""Claim → its rule over the map."""
LIMITS: OnMap = replace(rules.HIGHER_LEARNING_RATES, thresholds=SCALES)
"""Of the largest rate that trains, for sigmoids and for ReLUs apart."""
TUNED = ("faster_training", "higher_accuracy", "lower_training_loss", "stable_inputs")
"""Asked again with each arm at its own best cell on validation, by the margin within a cell alone."""
AT_ONE_CELL = ("faster_training", "stable_inputs")
"""Asked again of Fig. 1: 10,000 steps at the plain network's best cell, by the margin within a cell alone."""
AS_ACCURATE = Above(-0.005)
"""Final test accuracy minus that with Batch Normalization, each at its own best cell of the map on validation."""
INCEPTION_STEPS = Below(0.5, null=1.0)
"""Steps of BN-x5 with the normaliser over those of Inception, to Inception's maximum."""
INCEPTION_HIGHER = Above(0.0)
"""Maximum test accuracy of BN-x5 with the normaliser minus that of Inception."""
INCEPTION_AS_ACCURATE = Above(-0.02)
"""The same minus that of BN-x5 itself. Three seeds cannot tell apart what differs by less."""
COST = Measured()
"""Time of a training step over the plain network's."""
