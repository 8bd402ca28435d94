"""Where the Inception stops training, on tables whose right answer is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from fabricated import finish, publish
from fabricated_inception import AS_THE_PAPER, DIGITS, STEPS, Composed, made

from bnrepro.claims import Judgement, rate_ladder
from bnrepro.config.identity import scientific
from bnrepro.config.schema import Config
from bnrepro.tables import Results

End = Callable[[str, float, int], float | None]
"""(arm, multiple of Inception's rate, seed) → final accuracy; None: it diverges."""
SPLITS = ("test", "whole_test", "validation")


def climbed(composed: Composed, folder: Path, end: End, *overrides: str) -> Results:
    for config in composed("experiment=rate_ladder", *DIGITS, "steps=3200", *overrides):
        value = end(config.norm["name"], round(config.optimizer.lr / rate_ladder.BASE), config.seed)
        lost: dict[str, object] = {} if value is not None else {"status": "diverged", "last_step": 130}
        curves = {f"{split}/accuracy": (lambda seed, step, v=value or 0.1: v) for split in SPLITS}
        finish(config, curves, STEPS if value is not None else STEPS[:2], **lost)
    publish("rate_ladder", folder)
    return Results(folder)


def judged_in(results: Results) -> Judgement:
    [claim] = rate_ladder.CLAIMS
    return claim.judge(results)


def up_to(**limits: float) -> End:
    """Each arm trains up to its limit and diverges beyond."""
    return lambda arm, multiple, seed: 0.5 if multiple <= limits[arm] else None


def test_the_ratio_is_known_up_to_the_rungs(composed: Composed, tmp_path: Path) -> None:
    results = climbed(composed, tmp_path, up_to(none=5, batch=30))
    judged = judged_in(results)
    assert judged.primary is not None
    found = judged.primary.interval
    # Without BN the limit lies between ×5 and ×10, with it between ×30 and ×100.
    assert (found.low, found.high, found.n) == (3.0, 20.0, 3)
    assert judged.verdict == "supported"  # the ratio is above 3, which it cannot equal
    ranges = {each.arm: (each.interval.low, each.interval.high) for each in judged.estimates[1:3]}
    assert ranges == {"none": (5.0, 10.0), "batch": (30.0, 100.0)}
    assert judged.seeds is not None
    assert list(judged.seeds.columns) == [
        "without, trains at ×", "without, not at ×", "with, trains at ×", "with, not at ×",
    ]  # fmt: skip
    assert list(judged.seeds.loc[0]) == [5, 10, 30, 100]
    assert "none: of 3 seeds at ×10 3 diverge, at ×30 3 diverge, at ×100 3 diverge" in judged.notes
    assert rate_ladder.CHANGED in judged.notes
    assert set(rate_ladder.DECLARED.figures(results)) == {"rate_ladder_accuracy"}


@pytest.mark.parametrize(
    ("without", "treated", "verdict"),
    [
        (10, 30, "weaker"),
        (10, 10, "inconclusive"),
        (30, 10, "contradicted"),
        (0, 1, "weaker"),
        (100, 100, "inconclusive"),
    ],
)
def test_no_verdict_beyond_what_the_rungs_can_tell(
    without: float, treated: float, verdict: str, composed: Composed, tmp_path: Path
) -> None:
    assert judged_in(climbed(composed, tmp_path, up_to(none=without, batch=treated))).verdict == verdict


def test_beyond_the_ladder_there_is_a_bound(composed: Composed, tmp_path: Path) -> None:
    judged = judged_in(climbed(composed, tmp_path, up_to(none=5, batch=100)))
    assert judged.primary is not None
    assert (judged.primary.interval.low, judged.primary.interval.high) == (10.0, math.inf)
    assert judged.verdict == "supported"
    assert "batch: every run trains" in judged.notes


def test_seeds_that_differ_widen_the_interval(composed: Composed, tmp_path: Path) -> None:
    def end(arm: str, multiple: float, seed: int) -> float | None:
        return 0.5 if multiple <= (30 if arm == "batch" else (2, 5, 10)[seed]) else None

    judged = judged_in(climbed(composed, tmp_path, end))
    assert judged.primary is not None
    assert judged.primary.interval.low < 1  # the seeds alone say 1 to 6
    assert judged.verdict == "inconclusive"


def test_a_run_that_ends_at_chance_does_not_train_and_the_stricter_bar_stands_beside(
    composed: Composed, tmp_path: Path
) -> None:
    def end(arm: str, multiple: float, seed: int) -> float:
        return 0.5 if multiple <= 2 else 0.2 if multiple <= 10 or arm == "batch" else 0.12

    judged = judged_in(climbed(composed, tmp_path, end))
    ranges = {each.arm: (each.interval.low, each.interval.high) for each in judged.estimates[1:3]}
    assert ranges["none"] == (10.0, 30.0)
    assert judged.estimates[3].name == "the ratio, where training asks for 30% accuracy"
    assert judged.estimates[3].interval.low == pytest.approx(2 / 5)
    assert "none: of 3 seeds at ×30 3 end at chance, at ×100 3 end at chance" in judged.notes


def test_five_times_the_rate_over_a_whole_training_stands_beside(composed: Composed, tmp_path: Path) -> None:
    made(composed, AS_THE_PAPER | {"inception_x5": (0.7, 800)}, tmp_path, "arm=inception_x5")
    judged = judged_in(climbed(composed, tmp_path, up_to(none=5, batch=30)))
    beside = judged.estimates[-1]
    assert (beside.arm, beside.unit, beside.interval.value) == ("inception_x5", "share", 0.0)


def test_one_seed_has_no_interval(composed: Composed, tmp_path: Path) -> None:
    judged = judged_in(climbed(composed, tmp_path, up_to(none=5, batch=30), "seed=0"))
    assert judged.verdict == "inconclusive"


def test_an_arm_alone_is_not_run_and_drawn(composed: Composed, tmp_path: Path) -> None:
    results = climbed(composed, tmp_path, up_to(none=5), "norm=none")
    assert judged_in(results).verdict == "not run"
    assert rate_ladder.DECLARED.figures(results)


def test_the_rungs_are_the_arms_of_inception_training(composed: Composed) -> None:
    def values(config: Config) -> dict[str, object]:
        kept = scientific(config)
        return {key: value for key, value in kept.items() if key not in ("steps", "experiment", "seed")}

    lowest = composed("experiment=rate_ladder", "optimizer.lr=0.02", "seed=0", "evaluation.whole_test=5")
    arms = composed("experiment=inception_training", "arm=inception,bn_baseline", "seed=0")
    assert [values(config) for config in lowest] == [values(config) for config in arms]
    assert {config.optimizer.lr for config in arms} == {rate_ladder.BASE}
    rates = {config.optimizer.lr / rate_ladder.BASE for config in composed("experiment=rate_ladder", "norm=none")}
    assert sorted(rates) == pytest.approx([1, 2, 5, 10, 30, 100])


def test_where_nothing_trains_nothing_is_known(composed: Composed, tmp_path: Path) -> None:
    results = climbed(composed, tmp_path, up_to(none=0, batch=0))
    judged = judged_in(results)
    assert judged.primary is not None
    assert (judged.primary.interval.low, judged.primary.interval.high) == (0.0, math.inf)
    assert judged.verdict == "inconclusive"
    assert rate_ladder.DECLARED.figures(results)
