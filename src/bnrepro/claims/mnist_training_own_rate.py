"""BN at its own best rate. It carries no claim: ``mnist_training`` prints its estimates."""

from __future__ import annotations

from bnrepro.claims.claim import Experiment

NAME = "mnist_training_own_rate"

DECLARED = Experiment(NAME, 30, any_normaliser=False)
