"""What normalisers are called: each by its own name, Batch Normalization alone by that of Batch Normalization."""

from __future__ import annotations

import pytest

from bnrepro.claims import CLAIMS, naming, style

SENTENCE = "Batch Normalization gets worse as the batch shrinks, with BN over without."


@pytest.mark.parametrize(
    ("treatment", "said"),
    [
        ("batch", SENTENCE),
        ("mine", "mine gets worse as the batch shrinks, with mine over without."),
        ("group", "Group normalisation gets worse as the batch shrinks, with group norm over without."),
        ("reference_batch", "Batch Normalization from scratch gets worse as the batch shrinks, "
                            "with BN from scratch over without."),
        (r"a\1b", r"a\1b gets worse as the batch shrinks, with a\1b over without."),
    ],
)  # fmt: skip
def test_a_sentence_names_the_normaliser_that_is_asked(treatment: str, said: str) -> None:
    assert naming.about(treatment, SENTENCE) == said


def test_of_batch_normalization_every_claim_says_what_it_was_written_to_say() -> None:
    assert [claim.asked_of("batch") for claim in CLAIMS] == list(CLAIMS)


@pytest.mark.parametrize(
    ("treatment", "arm", "label"),
    [
        ("batch", "none", "Without BN"),
        ("batch", "batch", "With BN"),
        ("batch", "batch-after", "With BN, after the activation"),
        ("batch", "group", "With group norm"),
        ("batch", "my_arm", "my_arm"),
        ("mine", "none", "Without normalisation"),
        ("mine", "mine", "With mine"),
        ("mine", "mine-after", "With mine, after the activation"),
        ("mine", "batch", "With BN"),
    ],
)
def test_a_legend_names_the_arm(treatment: str, arm: str, label: str) -> None:
    with naming.asked_of(treatment):
        assert style.name(arm) == label
