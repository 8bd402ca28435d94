"""The claims in few words, for the page: a short sentence each, and whose claims they are."""

from __future__ import annotations

import re

from bnrepro.claims import Claim
from bnrepro.claims.naming import BATCH, LONG, SHORT, about

LONGEST = 90
"""A sentence of at most this many characters is short enough for one row."""
BRIEF = {
    "faster_training": "The network with BN reaches the plain network's accuracy in fewer steps.",
    "stable_inputs": "With BN the inputs to the last hidden sigmoids move less.",
    "higher_learning_rates": "With BN the network trains at rates at which it otherwise cannot.",
    "parameter_growth": "With BN larger weights get smaller gradients and stop growing.",
    "fewer_steps_inception": "The Inception with BN needs a fraction of the steps.",
    "higher_accuracy_inception": "The Inception with BN is more accurate, also at thirty times the rate.",
    "normalized_activations": "Each normalised feature has mean 0 and variance σ²/(σ²+ε).",
    "scale_invariance": "The scale of the weights changes neither output nor input gradient.",
    "identity_recoverable": "γ and β can undo the normalisation.",
    "bias_redundant": "A bias before BN changes nothing and is not trained.",
    "backward_equations": "The derivatives in the paper are those of its algorithm.",
    "population_statistics": "At inference an example's output does not depend on the others.",
    "stepwise_normalization": "Without a gradient through the statistics, a bias grows without end.",
    "whitening_cost": "Whitening a layer costs far more than normalising each feature.",
    "convention_traps": "Wrong momentum, variance and the like cost accuracy at inference.",
    "similar_samples": "A mini-batch of nearly identical samples blows noise and gradient up.",
    "precise_statistics": "Statistics estimated anew after training beat the moving average.",
    "transfer_statistics": "After a shift of the data, statistics estimated anew recover accuracy.",
    "gradient_estimate": "The error of a mini-batch's gradient falls with the root of its size.",
}
"""Slug → a shorter sentence, where the claim's own is long."""

PAPER, READERS, FOLLOW_UPS = "paper", "readers", "follow-ups"
SOURCES = {PAPER: "the paper", READERS: "its readers", FOLLOW_UPS: "follow-up papers"}
_YEAR = re.compile(r"\b(19|20)\d\d\b")


def brief(claim: Claim, treatment: str = BATCH) -> str:
    """The claim in a sentence that fits one row."""
    return about(treatment, BRIEF.get(claim.slug, claim.sentence).replace(LONG[BATCH], SHORT[BATCH]))


def sources(claim: Claim) -> list[str]:
    """Whose claim it is: the paper's, its readers', or that of a follow-up, which its source names with a year."""
    found = {PAPER: claim.origin == PAPER, READERS: READERS in claim.source, FOLLOW_UPS: _YEAR.search(claim.source)}
    return [name for name in SOURCES if found[name]] or [claim.origin]
