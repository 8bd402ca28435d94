"""BN at its own best rate: estimates printed beside those of mnist_training; no claim and no figure of its own."""

from __future__ import annotations

from bnrepro.claims.claim import Experiment

NAME = "mnist_training_own_rate"

DECLARED = Experiment(NAME, 30, any_normaliser=False)
