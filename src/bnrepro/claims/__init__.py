"""All claims, by experiment: what a reader of the report finds, in its order."""

from __future__ import annotations

from bnrepro.claims import (
    accelerations,
    affine,
    backward_equations,
    batch_size,
    bias_redundant,
    convention_traps,
    dropout,
    ensemble,
    ensemble_members,
    gradient_estimate,
    identity_recoverable,
    imagenet_plan,
    inception_training,
    inception_tuning,
    init_scale,
    landscape,
    landscape_inception,
    learning_rate,
    mnist_training,
    mnist_training_own_rate,
    mnist_tuning,
    network_size,
    normalized_activations,
    population_statistics,
    scale_invariance,
    shift,
    similar_samples,
    step_cost,
    stepwise_normalization,
    transfer,
    whitening_cost,
)
from bnrepro.claims.base import Claim, Estimate, Experiment, Judgement, Results

__all__ = ["CLAIMS", "EXPERIMENTS", "Claim", "Estimate", "Experiment", "Judgement", "Results", "asked_of"]

EXPERIMENTS: dict[str, Experiment] = {
    module.DECLARED.name: module.DECLARED
    for module in (
        mnist_tuning,
        mnist_training,
        mnist_training_own_rate,
        learning_rate,
        init_scale,
        dropout,
        affine,
        inception_tuning,
        inception_training,
        accelerations,
        ensemble_members,
        ensemble,
        network_size,
        imagenet_plan,
        normalized_activations,
        scale_invariance,
        identity_recoverable,
        bias_redundant,
        backward_equations,
        population_statistics,
        stepwise_normalization,
        whitening_cost,
        convention_traps,
        step_cost,
        batch_size,
        similar_samples,
        transfer,
        gradient_estimate,
        landscape,
        landscape_inception,
        shift,
    )
}
CLAIMS: tuple[Claim, ...] = tuple(claim for experiment in EXPERIMENTS.values() for claim in experiment.claims)


def asked_of(treatment: str) -> list[str]:
    """The experiments of the exam of ``treatment``: all of them for Batch Normalization, whose claims they are."""
    return [name for name, experiment in EXPERIMENTS.items() if experiment.exam or treatment == "batch"]
