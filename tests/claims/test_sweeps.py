"""The claims of the initialisation and dropout sweeps, on tables whose right answer is known."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from fabricated import finish, publish
from fabricated_inception import DIGITS as INCEPTION_ON_DIGITS
from fabricated_inception import STEPS as INCEPTION_STEPS

from bnrepro.claims import Judgement, batch_size, dropout, init_scale, learning_rate, operating_points
from bnrepro.config.schema import Config
from bnrepro.stats import OnMap
from bnrepro.tables import Results

STEPS = [0, 100, 200, 300, 400, 500]
Composed = Callable[..., list[Config]]


def made(configs: list[Config], end: Callable[[Config], float | None], folder: Path) -> Results:
    """Each run ends at ``end``; None is a run that diverged."""
    for config in configs:
        value = end(config)
        more = {"status": "diverged", "last_step": 150} if value is None else {}
        flat = {
            f"{split}/accuracy": (lambda seed, step, v=value or 0.1: v) for split in ("test", "validation", "train")
        }
        finish(config, flat, STEPS[:2] if value is None else STEPS, **more)
    publish(configs[0].experiment, folder)
    return Results(folder)


def judged_as(slug: str, results: Results) -> Judgement:
    """A claim that the map decides is judged by the margin within one place of it, on the sweep's one estimate."""
    declared = [claim for module in (operating_points, dropout, learning_rate, batch_size) for claim in module.CLAIMS]
    [claim] = [each for each in declared if each.slug == slug]
    if isinstance(claim.rule, OnMap):
        numbers = {"robust_to_init": init_scale.robust_to_init}.get(slug, learning_rate.higher_learning_rates)
        claim = dataclasses.replace(claim, rule=claim.rule.each, unit=claim.rule.effect, numbers=numbers)
    return claim.judge(results)


SCALES = ("experiment=init_scale", "data=digits", "steps=500", "seed=0,1,2")


def trains_at(none: tuple[float, ...], batch: tuple[float, ...]) -> Callable[[Config], float | None]:
    own = {"none": none, "batch": batch}
    return lambda config: 0.95 if config.model.init_scale in own[config.norm["name"]] else None


def test_three_more_scales_are_surely_half_a_decade(composed: Composed, tmp_path: Path) -> None:
    """Of 0.003 to 3. Each end of a range lies between two scales, so that one more step may be none."""
    wider = trains_at((0.1, 0.3), (0.01, 0.03, 0.1, 0.3, 1))
    judged = judged_as("robust_to_init", made(composed(*SCALES), wider, tmp_path))
    assert judged.primary is not None
    interval = judged.primary.interval
    assert (interval.low, interval.value, interval.high) == pytest.approx((0.5, 1.5, 2.5))
    assert judged.verdict == "weaker"  # from 0.5 on, not beyond it
    assert any("none: trains in all 3 seeds at standard deviations 0.1, 0.3" in note for note in judged.notes)


def test_a_range_up_to_the_edge_is_a_bound(composed: Composed, tmp_path: Path) -> None:
    edge = trains_at((0.1,), (0.01, 0.03, 0.1, 0.3, 1, 3))
    judged = judged_as("robust_to_init", made(composed(*SCALES), edge, tmp_path))
    assert judged.primary is not None
    assert judged.primary.interval.low == pytest.approx(1.5)
    assert judged.primary.interval.high == math.inf
    assert judged.verdict == "supported"
    assert any("batch: trains at the largest standard deviation of the grid" in note for note in judged.notes)


def test_where_both_ranges_touch_an_edge_nothing_is_decided(composed: Composed, tmp_path: Path) -> None:
    both = trains_at((0.003, 0.01), (0.003, 0.01, 0.03, 0.1, 0.3))
    assert judged_as("robust_to_init", made(composed(*SCALES), both, tmp_path)).verdict == "inconclusive"


DROPOUT = ("experiment=dropout", "data=digits", "data.validation_examples=300", "steps=500", "seed=0,1,2")


def dropped(composed: Composed, folder: Path, end: Callable[[Config], float | None], *overrides: str) -> Results:
    sizes = "data.train_examples=300,600"
    return made(composed(*DROPOUT, sizes, "evaluation.train_examples=100", *overrides), end, folder)


def dropout_of(config: Config) -> float:
    assert hasattr(config.model, "dropout")
    return config.model.dropout


def test_dropout_gains_less_with_bn(composed: Composed, tmp_path: Path) -> None:
    def end(config: Config) -> float:
        # On few examples it gains four points without BN and one with it, on many a point each; the rate 1 is best.
        few = {"none": 0.04, "batch": 0.01}[config.norm["name"]]
        gain = (few if config.data.train_examples == 300 else 0.01) * (dropout_of(config) == 0.25)
        return 0.9 + gain + config.seed / 1000 - 0.1 * (config.optimizer.lr != 1)

    results = dropped(composed, tmp_path, end)
    judged = judged_as("regularizes", results)
    assert judged.primary is not None
    assert judged.primary.interval.value == pytest.approx(0.03 / 2)
    assert judged.verdict == "supported"
    found = {(each.name, each.arm): each.interval.value for each in judged.estimates}
    label = "gain in final test accuracy by dropout"
    assert found[f"{label}, without BN minus with, on 300 examples", "batch"] == pytest.approx(0.03)
    assert found[f"{label} on 600 examples", "none"] == pytest.approx(0.01)
    # A difference that is 0 in every seed is no estimate.
    assert (f"{label}, without BN minus with, on 600 examples", "batch") not in found
    assert "300 examples: best dropout on validation is 0.25 (none) and 0.25 (batch)" in judged.notes
    assert any("0 fall on the lowest of 3 rates, 0.3, and 0 on the highest, 3" in note for note in judged.notes)
    assert any("what dropout gains the Inception with BN is not run" in note for note in judged.notes)
    assert set(dropout.DECLARED.figures(results)) == {"dropout_gain"}


def test_each_arm_size_and_dropout_has_its_own_rate(composed: Composed, tmp_path: Path) -> None:
    def end(config: Config) -> float | None:
        best = {"none": 0.3, "batch": 3.0}[config.norm["name"]]
        if config.optimizer.lr == 1 and config.seed == 1:
            return None  # never the best, though better than all others where it trains
        return 0.8 if config.optimizer.lr == best else 0.95 if config.optimizer.lr == 1 else 0.5

    results = dropped(composed, tmp_path, end)
    chosen = dropout.at_best_rates(results.tables("dropout"))  # type: ignore[arg-type]
    assert chosen.groupby("arm")["optimizer.lr"].unique().map(list).to_dict() == {"none": [0.3], "batch": [3.0]}
    judged = judged_as("regularizes", results)
    assert any("of 16 choices of a learning rate 8 fall on the lowest" in note for note in judged.notes)


def test_where_dropout_only_hurts_it_gains_nothing(composed: Composed, tmp_path: Path) -> None:
    judged = judged_as("regularizes", dropped(composed, tmp_path, lambda config: 0.9 - dropout_of(config) / 10))
    assert judged.primary is not None
    assert judged.primary.interval.value == 0.0
    assert judged.verdict == "inconclusive"


def test_a_size_without_dropout_in_one_arm_is_left_out(composed: Composed, tmp_path: Path) -> None:
    def end(config: Config) -> float | None:
        lost = config.norm["name"] == "batch" and config.data.train_examples == 300 and not dropout_of(config)
        return None if lost else 0.9 + dropout_of(config) / 10 + config.seed / 1000

    judged = judged_as("regularizes", dropped(composed, tmp_path, end))
    assert "300 examples: batch not run without dropout and with some; left out" in judged.notes
    assert judged.primary is not None
    assert judged.primary.name.endswith("mean of 1 size")


def test_on_data_of_one_size_there_is_one(composed: Composed, tmp_path: Path) -> None:
    configs = composed(*DROPOUT, "data.train_examples=null", "norm=none,batch")
    results = made(configs, lambda config: 0.9 + dropout_of(config) / 10 + config.seed / 1000, tmp_path)
    judged = judged_as("regularizes", results)
    assert "all examples: best dropout on validation is 0.5 (none) and 0.5 (batch)" in judged.notes
    assert dropout.DECLARED.figures(results)


def test_the_inception_s_answer_stands_beside(composed: Composed, tmp_path: Path) -> None:
    for name, arm, top in (("inception_training", "bn_x5", 0.72), ("accelerations", "x5_dropout", 0.7)):
        for config in composed(f"experiment={name}", f"arm={arm}", "steps=3200", "seed=0,1,2", *INCEPTION_ON_DIGITS):
            finish(config, {"test/accuracy": lambda seed, step, top=top: top if step else 0.1}, INCEPTION_STEPS)
        publish(name, tmp_path)
    results = dropped(composed, tmp_path, lambda config: 0.9 + dropout_of(config) / 10 + config.seed / 1000)
    judged = judged_as("regularizes", results)
    beside = judged.estimates[-1]
    assert beside.name == "gain in maximum test accuracy by dropout, the Inception with BN"
    assert beside.interval.value == pytest.approx(-0.02)


RATES = ("optimizer.lr=0.1,0.24,0.576,1.38,3.3", "seed=0,1,2", "steps=500", "data=digits")


def ends_at(trains: dict[tuple[str, str, str], float], seeds: float = 0.0) -> Callable[[Config], float | None]:
    """A run of (norm, placement, activation) trains up to its rate, best at 0.24; it diverges at the largest."""

    def end(config: Config) -> float | None:
        limit = trains[(config.norm["name"], config.placement, config.model.activation)]
        if config.optimizer.lr > limit:
            return None if config.optimizer.lr > 3 else 0.2
        return 0.95 + 0.02 * (config.optimizer.lr == 0.24) + seeds * config.seed

    return end


def arms(none: float, before: float, after: float) -> dict[tuple[str, str, str], float]:
    limits = {("none", "before"): none, ("batch", "before"): before, ("batch", "after"): after}
    return {(*arm, activation): limit for arm, limit in limits.items() for activation in ("sigmoid", "relu")}


def test_a_limit_lies_between_two_rates_of_the_grid(composed: Composed, tmp_path: Path) -> None:
    configs = composed("experiment=learning_rate", *RATES)
    assert len(configs) == 5 * 3 * 3 * 2
    judged = judged_as("higher_learning_rates", made(configs, ends_at(arms(0.3, 1.4, 0.6)), tmp_path))
    assert judged.primary is not None
    assert judged.primary.interval.low == pytest.approx(1.38 / 0.576)
    assert judged.primary.interval.high == pytest.approx(3.3 / 0.24)
    assert judged.verdict == "weaker"
    assert any("sigmoid, none: trains up to 0.24 (not at 0.576)" in note for note in judged.notes)


def test_one_grid_step_may_be_none(composed: Composed, tmp_path: Path) -> None:
    configs = composed("experiment=learning_rate", *RATES)
    judged = judged_as("higher_learning_rates", made(configs, ends_at(arms(0.3, 0.6, 0.6)), tmp_path))
    assert judged.verdict == "inconclusive"


def test_an_arm_that_trains_nowhere_has_its_limit_below_the_grid(composed: Composed, tmp_path: Path) -> None:
    configs = composed("experiment=learning_rate", *RATES)
    results = made(configs, ends_at(arms(0.01, 9, 9)), tmp_path)
    judged = judged_as("higher_learning_rates", results)
    assert judged.primary is not None
    assert judged.primary.interval.low == pytest.approx(3.3 / 0.1)
    assert judged.primary.interval.high == math.inf
    assert judged.verdict == "supported"
    assert any("top of the grid: lower bound" in note for note in judged.notes)
    assert any("none: 3 of 3 seeds pass nowhere" in note for note in judged.notes)


def test_placement_compares_each_at_its_own_best_rate(composed: Composed, tmp_path: Path) -> None:
    configs = composed("experiment=learning_rate", *RATES)

    def end(config: Config) -> float:
        # Before is best at 0.576, after at 0.1 and a point worse there; at any one rate after would look better.
        best = {"before": 0.576, "after": 0.1}[config.placement]
        top = {"before": 0.97, "after": 0.96}[config.placement] if config.model.activation == "sigmoid" else 0.9
        return (top if config.optimizer.lr == best else 0.5) + config.seed / 1000

    judged = judged_as("placement", made(configs, end, tmp_path))
    assert judged.primary is not None
    assert judged.primary.interval.value == pytest.approx(0.01)
    assert judged.verdict == "supported"
    assert any("after: its best rate 0.1 lies on the edge" in note for note in judged.notes)


def test_a_rate_at_which_one_seed_diverges_is_not_chosen(composed: Composed, tmp_path: Path) -> None:
    configs = composed("experiment=learning_rate", *RATES)

    def end(config: Config) -> float | None:
        if config.optimizer.lr == 1.38:
            return None if config.seed == 1 else 0.99
        return 0.9 if config.optimizer.lr == 0.24 else 0.8

    judged = judged_as("placement", made(configs, end, tmp_path))
    [before] = [each for each in judged.estimates if "sigmoid, rate" in each.name and each.arm == "batch"]
    assert "rate 0.24" in before.name
    assert before.interval.value == pytest.approx(0.9)


def test_a_narrowed_and_widened_sweep_is_judged_and_drawn(composed: Composed, tmp_path: Path) -> None:
    only = (
        "optimizer.lr=0.1,1,10",
        "norm=none,batch,group",
        "placement=before",
        "seed=0,1",
        "steps=500",
        "data=digits",
    )
    results = made(composed("experiment=learning_rate", *only), lambda config: 0.9 + config.seed / 100, tmp_path)
    assert judged_as("higher_learning_rates", results).verdict == "inconclusive"
    judged = judged_as("placement", results)
    assert judged.verdict == "not run"
    assert "batch-after was not run" in judged.notes[0]
    assert set(learning_rate.DECLARED.figures(results)) == {"learning_rate_accuracy", "learning_rate_steps"}


def test_a_steeper_slope_than_group_norm(composed: Composed, tmp_path: Path) -> None:
    configs = composed("experiment=batch_size", "data=digits", "batch_size=2,20,200", "seed=0,1,2")
    assert {config.steps for config in configs} == {60000, 6000, 600}  # as many examples in all

    def end(config: Config) -> float:
        loss = 0.1 * (2 - math.log10(config.batch_size / 2)) if config.norm["name"] == "batch" else 0.0
        # The largest rate is the worst: what decides is chosen on validation.
        return 0.9 - loss * (1 + config.seed / 100) - (0.2 if config.optimizer.lr > 1 else 0)

    judged = judged_as("tiny_batches", made(configs, end, tmp_path))
    assert judged.primary is not None
    assert judged.primary.interval.value == pytest.approx(0.101)
    assert judged.verdict == "supported"


def test_arms_that_diverge_at_every_rate_are_named(composed: Composed, tmp_path: Path) -> None:
    configs = composed("experiment=batch_size", "data=digits", "seed=0,1", "steps=500")
    diverge = made(configs, lambda config: 0.9 if config.norm["name"] == "group" else None, tmp_path)
    judged = judged_as("tiny_batches", diverge)
    assert judged.verdict == "not run"
    assert judged.notes == ["batch: at every batch size a seed diverged at every learning rate"]
    everything = made(configs, lambda config: None, tmp_path)
    assert judged_as("tiny_batches", everything).notes[0].startswith("batch and group: at every batch size")
    assert batch_size.DECLARED.figures(everything)


@pytest.mark.parametrize("module", [dropout, learning_rate, batch_size])
def test_a_partial_sweep_is_not_run_with_the_reason(module, composed: Composed, tmp_path: Path) -> None:
    claim = module.CLAIMS[0]
    assert claim.judge(Results(tmp_path / "nothing")).verdict == "not run"
    configs = composed(
        f"experiment={module.NAME}", "data=digits", "norm=none", "seed=0", "steps=500", "data.train_examples=500"
    )
    judged = claim.judge(made(configs, lambda config: 0.95, tmp_path))
    assert judged.verdict == "not run"
    assert judged.notes


@pytest.mark.parametrize("module", [init_scale, dropout, learning_rate, batch_size])
def test_a_partial_sweep_is_drawn(module, composed: Composed, tmp_path: Path) -> None:
    name = module.NAME
    configs = composed(f"experiment={name}", "data=digits", "seed=0,1", "steps=500", "data.train_examples=500")
    results = made(configs, lambda config: None if config.seed else 0.9, tmp_path)
    assert module.DECLARED.figures(results)


def test_one_arm_of_the_scales_alone_is_not_run_with_the_reason(composed: Composed, tmp_path: Path) -> None:
    results = made(composed(*SCALES, "norm=none"), lambda config: 0.95, tmp_path)
    judged = judged_as("robust_to_init", results)
    assert judged.verdict == "not run"
    assert "only the arm none was run" in judged.notes[0]
    assert init_scale.DECLARED.section is not None
    assert "- robust_to_init: only the arm none was run" in init_scale.DECLARED.section(results)
