"""The networks of the ensemble (§4.2.3). They carry no claim of their own: `ensemble` works on them."""

from __future__ import annotations

from bnrepro.claims.base import Experiment

EXPERIMENT = "ensemble_members"

DECLARED = Experiment(EXPERIMENT, (), lambda results: {}, exam=False)
