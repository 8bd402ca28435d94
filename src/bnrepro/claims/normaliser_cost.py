"""What a step costs with each normaliser. The comparison of normalisers alone prints it."""

from __future__ import annotations

from bnrepro.claims.claim import Experiment

NAME = "normaliser_cost"

DECLARED = Experiment(NAME, 245, any_normaliser=False, compared_only=True)
