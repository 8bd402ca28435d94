"""The claims in few words, for the page and the README: a short sentence each, and whose claims they are."""

from __future__ import annotations

import re

from bnrepro.claims import Claim
from bnrepro.claims.naming import BATCH, LONG, SHORT, about

LONGEST = 90
"""A sentence of at most this many characters is short enough for one row."""
BRIEF = {
    "faster_training": "The network with BN reaches the plain network's accuracy in fewer steps.",
    "activation_distribution": "With BN fewer sigmoids are saturated.",
    "stable_inputs": "With BN the inputs to the last hidden sigmoids move less.",
    "higher_learning_rates": "With BN the network trains at learning rates that are too high without it.",
    "parameter_growth": "With BN larger weights get smaller gradients and stop growing.",
    "placement": "Normalising before the nonlinearity is better than normalising after it.",
    "depth": "With BN deep plain networks train that do not train without it.",
    "regularizes": "Dropout helps less where there is BN.",
    "affine_needed": "Without γ and β a sigmoid network with BN is less accurate.",
    "fewer_steps_inception": "The Inception with BN reaches the plain one's best accuracy in a fraction of the steps.",
    "higher_accuracy_inception": "The Inception with BN is more accurate, even at thirty times the learning rate.",
    "thirty_times_is_best": "With BN thirty times the learning rate gives a higher accuracy than five times.",
    "saturating_nonlinearity": "With BN the Inception trains with sigmoids; without it, it does not.",
    "plain_with_changes": "It is BN, not the paper's other changes, that speeds the Inception up.",
    "accelerations": "Once BN is in place, the paper's other changes help, on average.",
    "dispensable": "Once BN is in place, neither dropout nor local response normalisation is needed.",
    "normalized_activations": "Each normalised feature has mean 0 and variance σ²/(σ²+ε).",
    "scale_invariance": "The scale of the weights changes neither the output nor the gradient of the input.",
    "identity_recoverable": "γ and β can undo the normalisation.",
    "bias_redundant": "A bias before BN changes nothing and is not trained.",
    "backward_equations": "The derivatives in the paper are those of its algorithm.",
    "population_statistics": "At inference an example's output does not depend on the examples beside it.",
    "stepwise_normalization": "Without a gradient through the statistics, a bias grows without bound.",
    "whitening_cost": "Whitening a layer costs far more than normalising each feature.",
    "convention_traps": "Mixed-up conventions (momentum, variance, γ and β) cost accuracy at inference.",
    "step_cost": "A training step takes longer with BN.",
    "tiny_batches": "BN suffers from small mini-batches; group normalisation does not.",
    "similar_samples": "In a mini-batch of nearly identical samples BN amplifies noise and gradients.",
    "precise_statistics": "Statistics estimated anew after training beat the moving average.",
    "transfer_statistics": "After a shift of the data, statistics estimated anew recover accuracy.",
    "gradient_estimate": "The error of a mini-batch's gradient falls with the square root of its size.",
}
"""Slug → a shorter sentence, where the claim's own is long."""

PAPER, READERS, FOLLOW_UPS, OWN = "paper", "readers", "follow-ups", "own"
SOURCES = {PAPER: "the paper", READERS: "its readers", FOLLOW_UPS: "follow-up papers", OWN: "your own"}
_YEAR = re.compile(r"\b(19|20)\d\d\b")


def brief(claim: Claim, treatment: str = BATCH) -> str:
    """The claim in a sentence that fits one row."""
    return about(treatment, BRIEF.get(claim.slug, claim.sentence).replace(LONG[BATCH], SHORT[BATCH]))


def sources(claim: Claim) -> list[str]:
    """Whose claim it is: a user's own, the paper's, its readers', or that of a follow-up, named with its year."""
    asserted = {
        PAPER: claim.origin == PAPER, READERS: READERS in claim.source, FOLLOW_UPS: bool(_YEAR.search(claim.source)),
        OWN: claim.origin == OWN,
    }  # fmt: skip
    return [OWN] if asserted[OWN] else [name for name in SOURCES if asserted[name]] or [claim.origin]
