"""The comparison of normalisers in words: what each row asks, with the normaliser as its subject."""

from __future__ import annotations

SAYS = {
    "cells_trained": "trains in more cells of the map",
    "faster_training": "reaches the plain network's accuracy in half of the steps",
    "higher_accuracy": "ends at a higher accuracy",
    "lower_training_loss": "lets the training loss fall twice as fast",
    "stable_inputs": "halves the drift of the last hidden inputs",
    "activation_distribution": "keeps sigmoids off their saturated ends",
    "robust_to_init": "trains from a wider range of initial scales",
    "parameter_growth": "halves the late growth of the weights",
    "gain_needs_large_rates": "does better against the plain network at its best than at small rates",
    "higher_learning_rates": "trains at three times the rate",
    "fewer_steps_inception": "reaches the plain Inception's best in half of the steps",
    "higher_accuracy_inception": "takes the Inception to a higher accuracy",
    "as_accurate_as_batch": "ends about as accurate as Batch Normalization",
    "step_cost": "makes a step cost more",
}
"""Claim → what a normaliser does if it holds, at the declared margin."""
PLACES = {
    "trains": "cells of the map in which it trains, over the plain network's",
    "map": "over the map: §4.1's network, every scale and rate at which both train",
    "rates, sigmoid": "trains at three times the rate, sigmoid",
    "rates, ReLU": "trains at three times the rate, ReLU",
    "both tuned": "both tuned: each at its own best scale and rate",
    "Fig. 1": "Fig. 1: 10,000 steps at the scale and rate that are the plain network's best",
    "Inception": "the Inception: BN-x5 with each in its place, against Inception",
    "a step, MLP": "§4.1's network",
    "a step, Inception": "the Inception",
    "report": "the claims of the report, each in its own experiment",
}
"""Where a row is asked, in words: what all rows of a place share, or what its only one asks."""
HEADINGS = {
    "trains": "where it trains at all",
    "rates, sigmoid": "largest rate that trains",
    "rates, ReLU": "largest rate that trains",
    "a step, MLP": "time of a step, over the plain network's",
    "a step, Inception": "time of a step, over the plain network's",
}
"""Where a row is asked → the heading that it shares with other places; the others have their own."""
SITUATIONS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "To reach a given accuracy in fewer steps, at a scale and rate at which the plain network trains too",
        (("map", "faster_training"),),
    ),
    ("To reach it in fewer steps, where both networks are tuned", (("both tuned", "faster_training"),)),
    ("To end more accurate, where both networks are tuned", (("both tuned", "higher_accuracy"),)),
    ("Where the initial scale is not under control", (("map", "robust_to_init"),)),
    ("To train at larger rates with sigmoids", (("rates, sigmoid", "higher_learning_rates"),)),
    ("To train at larger rates with ReLUs", (("rates, ReLU", "higher_learning_rates"),)),
    (
        "In the Inception, at the rate and with the changes of BN-x5, to reach a given accuracy in fewer steps",
        # Whoever ends lower does not reach it: the steps alone, of which only a bound is known then, would not say so.
        (("Inception", "fewer_steps_inception"), ("Inception", "higher_accuracy_inception")),
    ),
    (
        "In the Inception, at the rate and with the changes of BN-x5, to end more accurate",
        (("Inception", "higher_accuracy_inception"),),
    ),
    (
        "In the place of Batch Normalization, losing at most half a point in §4.1's network and two in the Inception",
        (("both tuned", "as_accurate_as_batch"), ("Inception", "as_accurate_as_batch")),
    ),
)
"""A need → the rows (where, claim) that all must hold for a normaliser that meets it."""
