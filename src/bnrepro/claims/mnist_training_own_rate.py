"""BN at its own best rate: estimates printed beside those of mnist_training; no claim and no figure of its own."""

from __future__ import annotations

from bnrepro.claims.base import Experiment

DECLARED = Experiment("mnist_training_own_rate", (), lambda results: {}, exam=False)
