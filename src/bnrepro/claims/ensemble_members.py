"""The networks of the ensemble (§4.2.3). They carry no claim of their own: the experiment ``ensemble`` uses them."""

from __future__ import annotations

from bnrepro.claims.claim import Experiment

NAME = "ensemble_members"

DECLARED = Experiment(NAME, 110, any_normaliser=False)
