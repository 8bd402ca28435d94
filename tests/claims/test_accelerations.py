"""What each change of §4.2.1 does once there is BN, on tables whose right answer is known."""

from __future__ import annotations

from pathlib import Path

import pytest
from fabricated import finish, publish
from fabricated_inception import AS_THE_PAPER, DIGITS, STEPS, Composed, made

from bnrepro.claims import Judgement, accelerations
from bnrepro.config.identity import arm_label
from bnrepro.store import flatten
from bnrepro.tables import Results


def judged_as(slug: str, results: Results) -> Judgement:
    [claim] = [each for each in accelerations.CLAIMS if each.slug == slug]
    return claim.judge(results)


def with_changes_undone(composed: Composed, folder: Path, tops: dict[str, float], *overrides: str) -> Results:
    made(composed, AS_THE_PAPER, folder, "arm=bn_x5")
    for config in composed("experiment=accelerations", *DIGITS, "steps=3200", *overrides):
        top = tops.get(arm_label(config), 0.71) + config.seed / 500
        finish(config, {"test/accuracy": lambda seed, step, top=top: top if step else 0.1}, STEPS)
    publish("accelerations", folder)
    return Results(folder)


def test_the_mean_gain_of_the_helpful_changes_decides(composed: Composed, tmp_path: Path) -> None:
    # Each change gains a point, but the faster decay loses two; what is dispensable does not count.
    results = with_changes_undone(composed, tmp_path, {"x5_decay": 0.74, "x5_dropout": 0.6})
    judged = judged_as("accelerations", results)
    assert judged.primary is not None
    assert judged.primary.interval.value == pytest.approx((4 * 0.01 - 0.02) / 5)
    assert judged.primary.interval.n == 5  # seeds that both sweeps have
    gains = {each.name: each.interval.value for each in judged.estimates[1:]}
    assert gains["gain in maximum test accuracy by a decay six times as fast"] == pytest.approx(-0.02)
    assert len(gains) == 5
    assert "of 5 changes 4 have their whole interval above zero, 1 below it" in judged.notes
    assert judged.verdict == "supported"
    assert set(accelerations.DECLARED.figures(results)) == {"accelerations_gain"}


@pytest.mark.parametrize(
    ("tops", "decides", "verdict"),
    [
        ({"x5_dropout": 0.725, "x5_lrn": 0.69}, -0.005, "supported"),  # half a point is within the margin
        ({"x5_dropout": 0.69, "x5_lrn": 0.74}, -0.02, "contradicted"),  # one that is needed is enough
    ],
)
def test_what_is_dispensable_costs_less_than_a_point_each(
    tops: dict[str, float], decides: float, verdict: str, composed: Composed, tmp_path: Path
) -> None:
    judged = judged_as("dispensable", with_changes_undone(composed, tmp_path, tops, "arm=x5_dropout,x5_lrn"))
    assert judged.primary is not None
    assert judged.primary.interval.value == pytest.approx(decides)
    assert judged.verdict == verdict


def test_a_gain_in_one_does_not_make_up_for_doubt_in_the_other(composed: Composed, tmp_path: Path) -> None:
    # Over the seeds, leaving out LRN gains and loses two points.
    made(composed, AS_THE_PAPER, tmp_path, "arm=bn_x5")
    for config in composed("experiment=accelerations", *DIGITS, "steps=3200", "arm=x5_dropout,x5_lrn"):
        shift = (0.02 if config.seed % 2 else -0.02) if arm_label(config) == "x5_lrn" else -0.2
        top = 0.72 + config.seed / 500 + shift
        finish(config, {"test/accuracy": lambda seed, step, top=top: top if step else 0.1}, STEPS)
    publish("accelerations", tmp_path)
    judged = judged_as("dispensable", Results(tmp_path))
    assert judged.primary is not None
    assert judged.primary.name.endswith("by no local response normalisation")
    assert judged.verdict == "inconclusive"


def test_changes_that_were_not_undone_forbid_support(composed: Composed, tmp_path: Path) -> None:
    judged = judged_as("accelerations", with_changes_undone(composed, tmp_path, {}, "arm=x5_rate,x5_l2"))
    assert judged.verdict == "inconclusive"
    assert any("3 of 5 changes have no such seed" in note for note in judged.notes)
    one = judged_as("dispensable", with_changes_undone(composed, tmp_path, {}, "arm=x5_lrn"))
    assert one.verdict == "inconclusive"
    assert "1 of 2 changes have no such seed" in one.notes


def test_one_seed_has_no_interval_to_count(composed: Composed, tmp_path: Path) -> None:
    judged = judged_as("accelerations", with_changes_undone(composed, tmp_path, {}, "seed=0"))
    assert judged.verdict == "inconclusive"
    assert not any("whole interval" in note for note in judged.notes)


def test_a_network_with_all_changes_that_diverged_forbids_support_and_is_told_once(
    composed: Composed, tmp_path: Path
) -> None:
    for config in composed("experiment=inception_training", *DIGITS, "steps=3200", "arm=bn_x5", "seed=4"):
        finish(config, {"test/accuracy": lambda seed, step: 0.1}, STEPS[:2], status="diverged", last_step=130)
    for config in composed("experiment=inception_training", *DIGITS, "steps=3200", "arm=bn_x5", "seed=range(3)"):
        finish(config, {"test/accuracy": lambda seed, step: 0.75 + seed / 500 if step else 0.1}, STEPS)
    for config in composed("experiment=accelerations", *DIGITS, "steps=3200"):
        finish(config, {"test/accuracy": lambda seed, step: 0.7 + seed / 500 if step else 0.1}, STEPS)
    for name in ("inception_training", "accelerations"):
        publish(name, tmp_path)
    judged = judged_as("accelerations", Results(tmp_path))
    assert judged.verdict == "inconclusive"
    assert sum("diverged" in note for note in judged.notes) == 1


def test_without_the_network_that_has_them_all_it_is_not_run(composed: Composed, tmp_path: Path) -> None:
    assert judged_as("accelerations", Results(tmp_path)).verdict == "not run"
    for config in composed("experiment=accelerations", *DIGITS, "steps=3200", "arm=x5_l2", "seed=0"):
        finish(config, {"test/accuracy": lambda seed, step: 0.5}, STEPS)
    publish("accelerations", tmp_path)
    judged = judged_as("accelerations", Results(tmp_path))
    assert judged.verdict == "not run"
    assert "bn_x5 of inception_training has not been run" in judged.notes[0]
    assert not accelerations.DECLARED.figures(Results(tmp_path))


def test_every_change_undoes_exactly_one_thing(composed: Composed) -> None:
    [whole] = composed("experiment=inception_training", "arm=bn_x5", "seed=0")
    one, plain = flatten(whole), flatten(composed("experiment=inception_training", "arm=inception", "seed=0")[0])
    names = ("experiment", "arm", "profiles")
    for config in composed("experiment=accelerations", "seed=0"):
        changed = {key for key, value in flatten(config).items() if value != one.get(key) and not key.startswith(names)}
        assert len(changed) == 1, changed
        [key] = changed
        assert flatten(config)[key] == plain[key]
