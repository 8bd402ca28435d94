"""The Inception's claims, on tables whose right answer is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fabricated import finish, publish

from bnrepro.claims import Judgement, accelerations, inception_training, inception_tuning
from bnrepro.config.identity import arm_label
from bnrepro.config.schema import Config
from bnrepro.store import flatten
from bnrepro.tables import Results

STEPS = [0, 100, 200, 400, 800, 1600, 3200]
DIGITS = ("data=digits", "data.enlarge=32", "data.standardize=true", "data.validation_examples=300")
Composed = Callable[..., list[Config]]
Plan = dict[str, tuple[float, int] | None]
"""Arm → (top, step from which on it is there), or None: it diverges."""

AS_THE_PAPER: Plan = {
    "inception": (0.70, 3200), "bn_baseline": (0.71, 1600), "bn_x5": (0.72, 200), "bn_x30": (0.75, 400),
    "bn_x5_sigmoid": (0.65, 3200), "inception_x5": None, "inception_sigmoid": (0.1, 0),
}  # fmt: skip


def made(composed: Composed, plan: Plan, folder: Path, *overrides: str) -> Results:
    for config in composed("experiment=inception_training", *DIGITS, "steps=3200", *overrides):
        top = plan[arm_label(config)]
        if top is None:
            chance = dict.fromkeys(("test/accuracy", "whole_test/accuracy"), lambda seed, step: 0.1)
            finish(config, chance, STEPS[:2], status="diverged", last_step=130)
            continue

        def accuracy(seed: int, step: int, top: tuple[float, int] = top) -> float:
            return top[0] + seed / 500 if step >= top[1] else 0.3

        finish(config, {"test/accuracy": accuracy, "whole_test/accuracy": accuracy}, STEPS)
    publish("inception_training", folder)
    return Results(folder)


def judged_as(slug: str, results: Results) -> Judgement:
    [claim] = [each for each in inception_training.CLAIMS + accelerations.CLAIMS if each.slug == slug]
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
    share = judged["plain_diverges"].primary
    assert share is not None
    assert share.interval.value == 1.0
    assert share.interval.low > 0.25


def test_where_five_times_the_rate_ends_highest_it_is_said(composed: Composed, tmp_path: Path) -> None:
    judged = judged_as("higher_accuracy_inception", made(composed, AS_THE_PAPER | {"bn_x5": (0.77, 200)}, tmp_path))
    assert judged.verdict == "supported"
    assert judged.estimates[-1].interval.value == pytest.approx(-0.02)
    assert any("here five times does" in note for note in judged.notes)


def test_an_arm_that_never_gets_there_cannot_be_supported(composed: Composed, tmp_path: Path) -> None:
    results = made(composed, AS_THE_PAPER | {"bn_x5": (0.6, 100)}, tmp_path)
    judged = judged_as("fewer_steps_inception", results)
    assert judged.verdict != "supported"
    assert any("5 of 5 runs of bn_x5 never reach it" in note for note in judged.notes)


def test_a_plain_network_that_trains_at_five_times_the_rate(composed: Composed, tmp_path: Path) -> None:
    judged = judged_as("plain_diverges", made(composed, AS_THE_PAPER | {"inception_x5": (0.7, 800)}, tmp_path))
    assert judged.primary is not None
    assert judged.primary.interval.value == 0.0
    assert judged.verdict == "inconclusive"
    assert any("all 5 train" in note for note in judged.notes)
    assert judged.estimates[-1].interval.value == pytest.approx(0.0)  # as high as at the rate itself


def test_one_that_stays_at_chance_does_not_train(composed: Composed, tmp_path: Path) -> None:
    judged = judged_as("plain_diverges", made(composed, AS_THE_PAPER | {"inception_x5": (0.1, 0)}, tmp_path))
    assert [each.interval.value for each in judged.estimates] == [1.0, 0.0, pytest.approx(0.104), pytest.approx(-0.6)]
    assert not any("train;" in note for note in judged.notes)
    assert judged.verdict == "supported"


@pytest.mark.parametrize(("seeds", "expected"), [(12, "inconclusive"), (13, "contradicted")])
def test_enough_seeds_that_train_contradict_it(seeds: int, expected: str, composed: Composed, tmp_path: Path) -> None:
    trains = AS_THE_PAPER | {"inception_x5": (0.4, 800)}
    results = made(composed, trains, tmp_path, "arm=inception_x5", f"seed=range({seeds})")
    judged = judged_as("plain_diverges", results)
    assert judged.verdict == expected
    assert any("does not rule out" in note for note in judged.notes) == (expected == "inconclusive")


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


def with_changes_undone(composed: Composed, folder: Path, tops: dict[str, float], *overrides: str) -> Results:
    made(composed, AS_THE_PAPER, folder, "arm=inception,bn_x30")
    for config in composed("experiment=accelerations", *DIGITS, "steps=3200", *overrides):
        top = tops.get(arm_label(config), 0.74) + config.seed / 500
        finish(config, {"test/accuracy": lambda seed, step, top=top: top if step else 0.1}, STEPS)
    publish("accelerations", folder)
    return Results(folder)


def test_the_mean_gain_of_the_changes_decides(composed: Composed, tmp_path: Path) -> None:
    # All but one gain a point; without dropout is three points worse than with it.
    results = with_changes_undone(composed, tmp_path, {"x30_dropout": 0.78})
    judged = judged_as("accelerations", results)
    assert judged.primary is not None
    assert judged.primary.interval.value == pytest.approx((6 * 0.01 - 0.03) / 7)
    assert judged.primary.interval.n == 3  # seeds that both sweeps have
    gains = {each.name: each.interval.value for each in judged.estimates[1:]}
    assert gains["gain in maximum test accuracy by no dropout"] == pytest.approx(-0.03)
    assert "of 7 changes 6 have their whole interval above zero, 1 below it" in judged.notes
    assert set(accelerations.DECLARED.figures(results)) == {"accelerations_gain"}


def test_changes_that_were_not_undone_forbid_support(composed: Composed, tmp_path: Path) -> None:
    judged = judged_as("accelerations", with_changes_undone(composed, tmp_path, {}, "arm=x30_rate,x30_l2"))
    assert judged.verdict == "inconclusive"
    assert any("5 of 7 changes have no such seed" in note for note in judged.notes)


def test_one_seed_has_no_interval_to_count(composed: Composed, tmp_path: Path) -> None:
    judged = judged_as("accelerations", with_changes_undone(composed, tmp_path, {}, "seed=0"))
    assert judged.verdict == "inconclusive"
    assert not any("whole interval" in note for note in judged.notes)


def test_a_network_with_all_changes_that_diverged_forbids_support_and_is_told_once(
    composed: Composed, tmp_path: Path
) -> None:
    for config in composed("experiment=inception_training", *DIGITS, "steps=3200", "arm=bn_x30", "seed=4"):
        finish(config, {"test/accuracy": lambda seed, step: 0.1}, STEPS[:2], status="diverged", last_step=130)
    for config in composed("experiment=inception_training", *DIGITS, "steps=3200", "arm=bn_x30", "seed=range(3)"):
        finish(config, {"test/accuracy": lambda seed, step: 0.75 + seed / 500 if step else 0.1}, STEPS)
    for config in composed("experiment=accelerations", *DIGITS, "steps=3200"):
        finish(config, {"test/accuracy": lambda seed, step: 0.7 + seed / 500 if step else 0.1}, STEPS)
    for name in ("inception_training", "accelerations"):
        publish(name, tmp_path)
    judged = judged_as("accelerations", Results(tmp_path))
    assert judged.verdict == "inconclusive"
    assert sum("diverged" in note for note in judged.notes) == 1


def test_a_sweep_without_its_baseline_has_no_goal(composed: Composed, tmp_path: Path) -> None:
    text = inception_training.section(made(composed, AS_THE_PAPER, tmp_path, "arm=bn_x5"))
    assert "| bn_x5 | 0.1 | – | 72.40% |" in text
    assert "nan" not in text


def test_without_the_network_that_has_them_all_it_is_not_run(composed: Composed, tmp_path: Path) -> None:
    assert judged_as("accelerations", Results(tmp_path)).verdict == "not run"
    for config in composed("experiment=accelerations", *DIGITS, "steps=3200", "arm=x30_l2", "seed=0"):
        finish(config, {"test/accuracy": lambda seed, step: 0.5}, STEPS)
    publish("accelerations", tmp_path)
    judged = judged_as("accelerations", Results(tmp_path))
    assert judged.verdict == "not run"
    assert "bn_x30 of inception_training has not been run" in judged.notes[0]
    assert not accelerations.DECLARED.figures(Results(tmp_path))


def test_every_change_undoes_exactly_one_thing(composed: Composed) -> None:
    [whole] = composed("experiment=inception_training", "arm=bn_x30", "seed=0")
    one, plain = flatten(whole), flatten(composed("experiment=inception_training", "arm=inception", "seed=0")[0])
    names = ("experiment", "arm", "profiles")
    for config in composed("experiment=accelerations", "seed=0"):
        changed = {key for key, value in flatten(config).items() if value != one.get(key) and not key.startswith(names)}
        assert len(changed) == 1, changed
        [key] = changed
        assert flatten(config)[key] == plain[key]
