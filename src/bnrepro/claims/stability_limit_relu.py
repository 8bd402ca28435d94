"""As stability_limit, with ReLU. higher_learning_rates prints its shares beside."""

from __future__ import annotations

from bnrepro.claims.claim import Experiment
from bnrepro.claims.operating_points.reading import LIMIT_RELU

DECLARED = Experiment(LIMIT_RELU, 8)
