"""The networks of the ensemble (§4.2.3). It carries no claim: the measurement ``ensemble`` uses the networks."""

from __future__ import annotations

from bnrepro.claims.claim import Experiment
from bnrepro.claims.ensemble import NETWORKS

NAME = "ensemble_members"

DECLARED = Experiment(NAME, 110, any_normaliser=False, arms=tuple(NETWORKS))
