"""All claims, by experiment: what a reader of the report finds, in its order."""

from __future__ import annotations

from bnrepro.claims import mnist_training, mnist_tuning
from bnrepro.claims.base import Claim, Estimate, Experiment, Judgement, Results

__all__ = ["CLAIMS", "EXPERIMENTS", "Claim", "Estimate", "Experiment", "Judgement", "Results"]

EXPERIMENTS: dict[str, Experiment] = {
    module.DECLARED.name: module.DECLARED for module in (mnist_training, mnist_tuning)
}
CLAIMS: tuple[Claim, ...] = tuple(claim for experiment in EXPERIMENTS.values() for claim in experiment.claims)
