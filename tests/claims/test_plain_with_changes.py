"""Whether it is BN or the other changes, on tables whose right answer is known."""

from __future__ import annotations

from pathlib import Path

import pytest
from fabricated import finish, publish
from fabricated_inception import AS_THE_PAPER, DIGITS, STEPS, Composed, made

from bnrepro.claims import Judgement, plain_with_changes
from bnrepro.config.identity import arm_label
from bnrepro.store import flatten
from bnrepro.tables import Results

Plan = dict[str, tuple[float, int, float] | None]
"""Arm → top, the step from which on it is there, final validation accuracy; None: a seed diverges."""
SPLITS = ("test", "whole_test")
SLOWER: Plan = {
    "inception_changes": (0.71, 3200, 0.60),
    "inception_changes_x2": (0.71, 1600, 0.65),
    "inception_changes_x5": None,
}
"""The changes alone halve the steps, at twice the rate."""


def changed(composed: Composed, folder: Path, plan: Plan, *overrides: str) -> Results:
    made(composed, AS_THE_PAPER, folder, "arm=inception,bn_x5")
    for config in composed("experiment=plain_with_changes", *DIGITS, "steps=3200", *overrides):
        found = plan[arm_label(config)]
        lost = found is None and config.seed == 0
        top, step_of, validation = found or (0.75, 400, 0.7)
        curves = {
            f"{split}/accuracy": lambda seed, step, top=top, at=step_of: top + seed / 500 if step >= at else 0.3
            for split in SPLITS
        } | {"validation/accuracy": lambda seed, step, end=validation: end}
        finish(
            config, curves, STEPS[:2] if lost else STEPS, **({"status": "diverged", "last_step": 130} if lost else {})
        )
    publish("plain_with_changes", folder)
    return Results(folder)


def judged_in(results: Results) -> Judgement:
    [claim] = plain_with_changes.CLAIMS
    return claim.judge(results)


def test_bn_is_set_against_the_changes_at_their_best_rate_on_validation(composed: Composed, tmp_path: Path) -> None:
    results = changed(composed, tmp_path, SLOWER)
    judged = judged_in(results)
    assert judged.primary is not None
    assert judged.primary.interval.value == pytest.approx(200 / 1600)
    assert judged.primary.interval.n == 5
    assert judged.verdict == "supported"
    assert "on validation inception_changes_x2 is the best of 3 rates" in judged.notes
    alone = {each.arm: each.interval.value for each in judged.estimates if each.name.endswith("over Inception")}
    assert alone["inception_changes_x2"] == pytest.approx(0.5)
    assert set(plain_with_changes.DECLARED.figures(results)) == {"plain_with_changes_accuracy"}


def test_a_rate_at_which_a_seed_diverged_is_never_the_best(composed: Composed, tmp_path: Path) -> None:
    only = "arm=inception_changes,inception_changes_x5"  # of which the second has the better survivors
    judged = judged_in(changed(composed, tmp_path, SLOWER, only))
    assert "on validation inception_changes is the best of 2 rates" in judged.notes
    assert "inception_changes_x5: 1 of 5 runs diverge and are left out" in judged.notes


def test_changes_that_do_it_alone_contradict(composed: Composed, tmp_path: Path) -> None:
    plan = SLOWER | {"inception_changes_x2": (0.72, 100, 0.65)}
    assert judged_in(changed(composed, tmp_path, plan)).verdict == "contradicted"


def test_changes_that_never_get_there_count_as_the_whole_budget(composed: Composed, tmp_path: Path) -> None:
    plan = SLOWER | {"inception_changes_x2": (0.6, 100, 0.65)}
    judged = judged_in(changed(composed, tmp_path, plan))
    assert judged.primary is not None
    assert judged.primary.interval.value == pytest.approx(200 / 3200)
    assert "inception_changes_x2: 5 of 5 runs never reach it and count as 3,200 steps" in judged.notes


def test_bn_that_never_gets_there_forbids_support(composed: Composed, tmp_path: Path) -> None:
    results = changed(composed, tmp_path, SLOWER | {"inception_changes_x2": (0.6, 3200, 0.65)})
    for config in composed("experiment=inception_training", *DIGITS, "steps=3200", "arm=bn_x5", "seed=0"):
        flat = {f"{split}/accuracy": lambda seed, step: 0.5 for split in SPLITS}
        finish(config, flat, STEPS)
    publish("inception_training", tmp_path)
    assert judged_in(Results(results.folder)).verdict != "supported"


def test_where_every_rate_diverges_nothing_is_judged(composed: Composed, tmp_path: Path) -> None:
    judged = judged_in(changed(composed, tmp_path, SLOWER, "arm=inception_changes_x5"))
    assert judged.verdict == "not run"
    assert judged.notes == ["plain_with_changes: a seed diverged at every rate"]


def test_without_the_runs_that_it_is_set_against_it_is_not_run(composed: Composed, tmp_path: Path) -> None:
    assert judged_in(Results(tmp_path)).verdict == "not run"
    for config in composed("experiment=plain_with_changes", *DIGITS, "steps=3200", "seed=0"):
        finish(config, {"test/accuracy": lambda seed, step: 0.5}, STEPS)
    publish("plain_with_changes", tmp_path)
    assert "of inception_training have not been run" in judged_in(Results(tmp_path)).notes[0]
    assert not plain_with_changes.DECLARED.figures(Results(tmp_path))


def test_the_arms_are_bn_x5_but_for_bn_and_the_rate(composed: Composed) -> None:
    [whole] = composed("experiment=inception_training", "arm=bn_x5", "seed=0")
    found = composed("experiment=plain_with_changes", "seed=0")
    names = ("experiment", "arm", "profiles", "norm", "optimizer.lr")
    for config in found:
        assert config.norm["name"] == "none"
        differing = {key for key, value in flatten(config).items() if value != flatten(whole).get(key)}
        assert not [key for key in differing if not key.startswith(names)]
    assert [config.optimizer.lr for config in found] == pytest.approx([0.02, 0.04, whole.optimizer.lr])
