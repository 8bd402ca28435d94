"""The Inception's claims, on tables whose right answer is known."""

from __future__ import annotations

from pathlib import Path

import pytest
from fabricated import finish, publish
from fabricated_inception import AS_THE_PAPER, DIGITS, STEPS, Composed, made

from bnrepro.claims import Judgement, inception_training, inception_tuning
from bnrepro.tables import Results


def judged_as(slug: str, results: Results) -> Judgement:
    [claim] = [each for each in inception_training.CLAIMS if each.slug == slug]
    return claim.judge(results)


def test_the_paper_s_own_numbers_support_all_four(composed: Composed, tmp_path: Path) -> None:
    results = made(composed, AS_THE_PAPER, tmp_path)
    judged = {claim.slug: claim.judge(results) for claim in inception_training.CLAIMS}
    assert {judgement.verdict for judgement in judged.values()} == {"supported"}
    steps = judged["fewer_steps_inception"]
    ratios = {each.arm: each.interval.value for each in steps.estimates}
    assert ratios == pytest.approx({"bn_x5": 200 / 3200, "bn_x30": 400 / 3200, "bn_baseline": 1600 / 3200})
    assert steps.primary is not None
    assert steps.primary.arm == "bn_x5"
    gain = judged["higher_accuracy_inception"].primary
    assert gain is not None
    assert (gain.arm, gain.interval.value) == ("bn_x30", pytest.approx(0.05))
    assert not any("here five times does" in note for note in judged["higher_accuracy_inception"].notes)
    # What was changed after the runs is said whatever they say, and the plain network that was still improving.
    for slug, changed in inception_training.CHANGED.items():
        assert changed in judged[slug].notes
    assert any("5 of 5 runs of inception are at their best in the last tenth" in note for note in steps.notes)
    order = judged["thirty_times_is_best"].primary
    assert order is not None
    assert (order.arm, order.interval.value) == ("bn_x30", pytest.approx(0.03))


def test_where_five_times_the_rate_ends_highest_it_is_said(composed: Composed, tmp_path: Path) -> None:
    judged = judged_as("higher_accuracy_inception", made(composed, AS_THE_PAPER | {"bn_x5": (0.77, 200)}, tmp_path))
    assert judged.verdict == "supported"
    assert judged.estimates[-1].interval.value == pytest.approx(-0.02)
    assert any("here five times does" in note for note in judged.notes)


def test_thirty_times_the_rate_is_set_against_five_times(composed: Composed, tmp_path: Path) -> None:
    results = made(composed, AS_THE_PAPER | {"bn_x5": (0.77, 200)}, tmp_path, "arm=bn_x5,bn_x30")
    judged = judged_as("thirty_times_is_best", results)
    assert judged.primary is not None
    assert judged.primary.interval.value == pytest.approx(-0.02)
    assert judged.verdict == "contradicted"


def test_an_arm_that_never_gets_there_cannot_be_supported(composed: Composed, tmp_path: Path) -> None:
    results = made(composed, AS_THE_PAPER | {"bn_x5": (0.6, 100)}, tmp_path)
    judged = judged_as("fewer_steps_inception", results)
    assert judged.verdict != "supported"
    assert any("5 of 5 runs of bn_x5 never reach it" in note for note in judged.notes)


def test_sigmoids_that_train_without_it_too(composed: Composed, tmp_path: Path) -> None:
    plan = AS_THE_PAPER | {"inception_sigmoid": (0.62, 800)}
    assert judged_as("saturating_nonlinearity", made(composed, plan, tmp_path)).verdict == "weaker"


def test_the_table_of_fig_3_and_fig_2(composed: Composed, tmp_path: Path) -> None:
    results = made(composed, AS_THE_PAPER, tmp_path)
    text = inception_training.section(results)
    assert "| bn_x5 | 0.1 | 200 (5 of 5) | 72.40% | 5 (0) | 0.0075 | 2.1 | 73.0 |" in text
    assert "| inception_x5 | 0.1 | never | – | 5 (5) | 0.0075 | – | diverges |" in text
    assert set(inception_training.DECLARED.figures(results)) == {"inception_training_accuracy"}


@pytest.mark.parametrize("only", ["arm=inception", "arm=bn_x5,bn_x30"])
def test_a_partial_sweep_is_not_run_with_the_reason_and_drawn(only: str, composed: Composed, tmp_path: Path) -> None:
    results = made(composed, AS_THE_PAPER, tmp_path, only, "seed=0,1")
    for claim in inception_training.CLAIMS:
        if only != "arm=inception" and claim.slug == "thirty_times_is_best":
            continue  # these are its two arms
        judged = claim.judge(results)
        assert judged.verdict == "not run"
        assert judged.notes
    assert inception_training.section(results)
    assert inception_training.DECLARED.figures(results)


def test_the_tuning_s_section_names_the_best_rate_that_no_seed_diverged_at(composed: Composed, tmp_path: Path) -> None:
    for config in composed("experiment=inception_tuning", *DIGITS, "steps=1600"):
        lost = config.optimizer.lr == 0.08 and config.seed == 101
        end = {0.02: 0.6, 0.08: 0.9}.get(config.optimizer.lr, 0.5)
        curves = {"validation/accuracy": lambda seed, step, end=end: end}
        finish(config, curves, STEPS[: 1 if lost else 6], **({"status": "diverged", "last_step": 9} if lost else {}))
    publish("inception_tuning", tmp_path)
    text = inception_tuning.section(Results(tmp_path))
    assert "**0.02** is best" in text
    assert "| 0.08 | 90.00% | 2 | 1 |" in text


def test_a_sweep_without_its_baseline_has_no_goal(composed: Composed, tmp_path: Path) -> None:
    text = inception_training.section(made(composed, AS_THE_PAPER, tmp_path, "arm=bn_x5"))
    assert "| bn_x5 | 0.1 | – | 72.40% |" in text
    assert "nan" not in text
