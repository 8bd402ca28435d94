"""The comparison of normalisers in words: what each row asks, with the normaliser as its subject."""

from __future__ import annotations

SAYS = {
    "faster_training": "reaches the plain network's accuracy in half of the steps",
    "higher_accuracy": "ends at a higher accuracy",
    "lower_training_loss": "lets the training loss fall twice as fast",
    "stable_inputs": "halves the drift of the last hidden inputs",
    "activation_distribution": "keeps sigmoids off their saturated ends",
    "robust_to_init": "trains from a wider range of initial scales",
    "parameter_growth": "halves the late growth of the weights",
    "gain_needs_large_rates": "gains by the larger rates that it permits",
    "higher_learning_rates": "trains at three times the rate",
    "fewer_steps_inception": "reaches the plain Inception's best in half of the steps",
    "higher_accuracy_inception": "takes the Inception higher than without",
    "as_accurate_as_batch": "ends about as accurate as Batch Normalization",
    "step_cost": "makes a step cost more",
}
"""Claim → what a normaliser does if it holds, at the declared margin."""
PLACES = {
    "map": "over the map: §4.1's network, every scale and rate at which both train",
    "rates, sigmoid": "trains at three times the rate, sigmoid",
    "rates, ReLU": "trains at three times the rate, ReLU",
    "both tuned": "both tuned: each at its own best scale and rate",
    "Fig. 1": "Fig. 1: at the plain network's best scale and rate",
    "Inception": "the Inception: BN-x5 with each in its place, against Inception",
    "a step, MLP": "§4.1's network",
    "a step, Inception": "the Inception",
    "report": "the claims of the report, each in its own experiment",
}
"""Where a row is asked, in words: what all rows of a place share, or what its only one asks."""
HEADINGS = {
    "rates, sigmoid": "largest rate that trains",
    "rates, ReLU": "largest rate that trains",
    "a step, MLP": "time of a step, over the plain network's",
    "a step, Inception": "time of a step, over the plain network's",
}
"""Where a row is asked → the heading that it shares with other places; the others have their own."""
SITUATIONS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("To reach a given accuracy in fewer steps, without tuning anew", (("map", "faster_training"),)),
    ("To reach it in fewer steps, where both networks are tuned", (("both tuned", "faster_training"),)),
    ("To end more accurate, where both networks are tuned", (("both tuned", "higher_accuracy"),)),
    ("Where the initial scale is not under control", (("map", "robust_to_init"),)),
    ("To train at larger rates with sigmoids", (("rates, sigmoid", "higher_learning_rates"),)),
    ("To train at larger rates with ReLUs", (("rates, ReLU", "higher_learning_rates"),)),
    ("In a convolutional network, to reach a given accuracy in fewer steps", (("Inception", "fewer_steps_inception"),)),
    ("In a convolutional network, to end more accurate", (("Inception", "higher_accuracy_inception"),)),
    (
        "In the place of Batch Normalization, without losing accuracy",
        (("both tuned", "as_accurate_as_batch"), ("Inception", "as_accurate_as_batch")),
    ),
)
"""A need → the rows (where, claim) that all must hold for a normaliser that meets it."""
