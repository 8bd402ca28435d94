"""The claims over the map, on tables whose right answer is known."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import mapped
import pandas as pd
import pytest
from mapped import Run, flat

from bnrepro.claims import Judgement, operating_points
from bnrepro.claims.operating_points import effects, rules
from bnrepro.claims.operating_points.reading import read
from bnrepro.tables import Tables

SCALES, RATES = (0.01, 0.1, 1.0), (0.03, 0.1, 0.3, 1.0)
"""Twelve cells."""


def made(cell: mapped.Cell, experiment: str = "operating_points", **more) -> Tables:
    return mapped.tables(cell, experiment, **({"scales": SCALES, "rates": RATES} | more))


def judged(slug: str, *found: Tables, treatment: str = "batch") -> Judgement:
    [claim] = [each for each in operating_points.CLAIMS if each.slug == slug]
    return claim.judge(mapped.results(*found, treatment=treatment))


def rising(half: float, end: float = 0.97) -> Callable[[int], float]:
    """An accuracy that comes to ``end``."""
    return lambda step: 0.1 + (end - 0.1) * (1 - 2.0 ** (-step / half))


def falling(half: float) -> Callable[[int], float]:
    return lambda step: 2.3 * 2.0 ** (-step / half) + 1e-4


def speeds(ratio: Callable[[float, float], float]) -> mapped.Cell:
    """With BN the half time is ``ratio`` of (scale, rate) that without."""
    return lambda arm, scale, rate, seed: Run(rising((200 + seed) * (ratio(scale, rate) if arm == "batch" else 1)))


def test_faster_in_every_cell_is_supported() -> None:
    found = judged("faster_training", made(speeds(lambda scale, rate: 1 / 8)))
    assert found.verdict == "supported"
    assert found.primary is not None
    assert found.primary.unit == "share"
    assert found.primary.said.startswith("of 12 cells: 12 at 0.5× or below")
    assert "12 both arms train in every seed, in 0 only batch" in found.notes[1]


def test_a_little_faster_is_weaker_and_slower_is_contradicted() -> None:
    assert judged("faster_training", made(speeds(lambda scale, rate: 0.65))).verdict == "weaker"
    assert judged("faster_training", made(speeds(lambda scale, rate: 3.0))).verdict == "contradicted"
    assert judged("faster_training", made(speeds(lambda scale, rate: 1.0))).verdict == "inconclusive"


def test_faster_here_and_slower_there_depends() -> None:
    assert judged("faster_training", made(speeds(lambda s, rate: 1 / 8 if rate < 0.2 else 8.0))).verdict == "depends"


def test_speed_is_judged_only_where_both_arms_train() -> None:
    """In the other cells BN is ten times as slow: they are counted beside."""

    def cell(arm: str, scale: float, rate: float, seed: int) -> Run:
        if scale == 1.0:
            return flat(0.2) if arm == "none" or seed == 2 else Run(rising(2000))
        return Run(rising(400 if arm == "none" else 40))

    found = judged("faster_training", made(cell, rates=(0.03, 0.1, 0.3, 1.0, 3.0)))
    assert found.primary is not None
    assert found.primary.said.startswith("of 10 cells: 10 at 0.5×")
    assert "in 10 both arms train in every seed, in 0 only batch, in 0 only none, in 5 neither" in found.notes[1]


def test_fewer_than_ten_cells_decide_nothing() -> None:
    assert judged("faster_training", made(speeds(lambda s, r: 1 / 8), rates=RATES[:3])).verdict == "inconclusive"


def test_a_treatment_that_never_gets_there_is_on_the_other_side() -> None:
    never = lambda arm, scale, rate, seed: Run(rising(50, 0.97 if arm == "none" else 0.93))  # noqa: E731
    assert judged("faster_training", made(never)).verdict == "contradicted"
    found = read(mapped.results(made(never)))
    values = effects.over_cells(effects.steps_to_accuracy, found, found.cells())
    assert (values.low > 1).all(axis=None)
    assert not (values.high < float("inf")).any(axis=None)


def test_steps_are_known_to_lie_between_two_evaluations() -> None:
    """Reached at 320 and at 640, so after 160 and 320: the ratio lies between a quarter and one."""

    def cell(arm: str, scale: float, rate: float, seed: int) -> Run:
        return Run(lambda step: 0.95 if step >= (640 if arm == "none" else 320) else 0.1)

    found = read(mapped.results(made(cell)))
    values = effects.over_cells(effects.steps_to_accuracy, found, found.cells())
    assert {values.low.iloc[0, 0], values.value.iloc[0, 0], values.high.iloc[0, 0]} == {0.25, 0.5, 1.0}
    assert judged("faster_training", made(cell)).verdict == "weaker"


def test_the_target_of_the_loss_is_an_axis_of_the_answer() -> None:
    """Faster down to 0.1, then it stays: the plain network overfits further."""

    def cell(arm: str, scale: float, rate: float, seed: int) -> Run:
        if arm == "none":
            return Run(rising(50), falling(400))
        return Run(rising(50), lambda step: max(falling(40)(step), 0.09))

    found = judged("lower_training_loss", made(cell))
    assert found.verdict == "depends"
    alone = {each.name: each for each in found.estimates if "alone" in each.name}
    assert "loss 1 alone: supported" in alone
    assert "loss 0.01 alone: contradicted" in alone
    assert len(alone) == len(rules.LOSSES)


def test_a_target_that_neither_reaches_is_not_applicable() -> None:
    cell = lambda arm, s, r, seed: Run(rising(50), lambda step: max(falling(400 if arm == "none" else 40)(step), 0.2))  # noqa: E731
    found = judged("lower_training_loss", made(cell))
    assert found.primary is not None
    assert found.primary.said.startswith("of 48 cases: 48 at 0.5×")  # four targets of nine in twelve cells


def test_the_median_unit_alone_does_not_decide_the_drift() -> None:
    def cell(arm: str, scale: float, rate: float, seed: int) -> Run:
        plain = {(name, part): 1.0 for name in rules.STATISTICS for part in rules.PARTS}
        worse = {key: 1.1 if key[0] == "median" else 0.4 for key in plain}
        return Run(rising(50), drift=plain if arm == "none" else worse)

    found = judged("stable_inputs", made(cell))
    assert found.verdict == "depends"
    names = [each.name for each in found.estimates]
    assert "drift, median of the units, all of training alone: contradicted" in names
    assert "drift, p90 of the units, first 2% alone: supported" in names


def test_an_infinite_drift_lies_on_the_other_side_and_in_no_mean() -> None:
    def cell(arm: str, scale: float, rate: float, seed: int) -> Run:
        value = float("inf") if arm == "batch" and scale == 1.0 else 1.0 if arm == "none" else 0.2
        return Run(rising(50), drift={(name, part): value for name in rules.STATISTICS for part in rules.PARTS})

    found = judged("stable_inputs", made(cell))
    assert found.primary is not None
    assert "96 at 0.5× or below, 96 below 1×, 48 above 1×" in found.primary.said
    [mean] = [each for each in found.estimates if "geometric mean" in each.name]
    assert mean.interval.value == pytest.approx(0.2)


def test_every_layer_counts_in_the_saturation() -> None:
    cell = lambda arm, s, r, seed: Run(rising(50), saturated=(0.4, 0.1, 0.1) if arm == "none" else (0.1, 0.2, 0.3))  # noqa: E731
    found = judged("activation_distribution", made(cell))
    assert found.verdict == "depends"
    assert "saturation, hidden layer 1 alone: supported" in [each.name for each in found.estimates]
    assert "saturation, hidden layer 3 alone: contradicted" in [each.name for each in found.estimates]


def test_accuracy_at_smaller_budgets_and_on_digits_stands_beside() -> None:
    """Ahead at first, behind at the end."""
    cell = lambda arm, s, r, seed: Run(rising(400, 0.98) if arm == "none" else rising(20, 0.96))  # noqa: E731
    digits = made(lambda arm, s, r, seed: flat(0.95 if arm == "none" else 0.97), "operating_points_digits")
    found = judged("higher_accuracy", made(cell), digits)
    assert found.verdict == "contradicted"
    names = [each.name for each in found.estimates]
    assert "the same at 2,000 steps: supported" in names
    assert "the same at 5,000 steps: contradicted" in names
    assert "the same on the digits: supported" in names
    assert not any("operating_points_digits" in note for note in found.notes)


def test_where_both_tuned_disagree_the_words_say_so() -> None:
    def cell(arm: str, scale: float, rate: float, seed: int) -> Run:
        best = 0.02 if (scale, rate) == (0.1, 0.3) else 0.0  # for either arm
        return flat(0.95 + best + seed / 1000 if arm == "none" else 0.951 + 3 * best / 4 + seed / 900)

    found = judged("higher_accuracy", made(cell))
    assert found.verdict == "supported"
    assert found.evidence.words.startswith("The answer is not the same everywhere: supported over the map; ")
    assert "contradicted with both tuned, -0.3" in found.evidence.words
    agreed = judged("higher_accuracy", made(lambda arm, s, r, seed: flat(0.95 + (arm == "batch") / 100 + seed / 1e3)))
    assert agreed.evidence.words == ""


def trains_up_to(limits: dict[str, float], **more) -> mapped.Cell:
    return lambda arm, scale, rate, seed: flat(0.95 if rate <= limits[arm] else 0.2)


def ladder(limits: dict[str, float], activation: str = "sigmoid") -> Tables:
    rates = tuple(0.1 * 1.3**rung for rung in range(18))
    return made(trains_up_to(limits), "stability_limit", scales=(0.03, 0.1, 0.3, 1.0, 3.0), rates=rates,
                activation=activation)  # fmt: skip


def test_the_fine_ladder_decides_the_limit() -> None:
    coarse = made(trains_up_to({"none": 0.1, "batch": 0.1}))
    found = judged("higher_learning_rates", coarse, ladder({"none": 0.5, "batch": 2.5}))
    assert found.verdict == "supported"
    assert "the same on operating_points: inconclusive" in [each.name for each in found.estimates]
    at_one = next(each for each in found.estimates if "initial scale 0.1" in each.name)
    assert at_one.interval.low == pytest.approx(1.3**5)  # six rungs higher, known to within one on either side
    assert at_one.interval.high == pytest.approx(1.3**7)


def test_five_rungs_of_1_3_are_not_surely_three_times() -> None:
    """1.3⁵ is 3.7, but the limits may lie a factor of 1.3 closer together."""
    found = judged("higher_learning_rates", ladder({"none": 0.5, "batch": 1.8}))
    assert found.verdict == "weaker"
    assert judged("higher_learning_rates", ladder({"none": 0.5, "batch": 0.5})).verdict == "inconclusive"


def test_without_the_ladder_the_map_decides_and_says_so() -> None:
    found = judged("higher_learning_rates", made(trains_up_to({"none": 0.03, "batch": 1.0})))
    assert found.verdict == "supported"  # from 0.03 to the top of the grid
    assert "until then the coarser grid" in found.notes[1]
    [at_one] = [each for each in found.estimates if "initial scale 0.1" in each.name]
    assert at_one.interval.high == float("inf")


def test_a_scale_at_which_an_arm_trains_at_no_rate_has_no_ratio() -> None:
    def cell(arm: str, scale: float, rate: float, seed: int) -> Run:
        return flat(0.95 if arm == "batch" or (scale == 0.1 and rate < 0.2) else 0.2)

    found = judged("higher_learning_rates", made(cell))
    assert found.verdict == "inconclusive"  # one scale of the three that it takes
    assert "initial scale 0.01: an arm trains at no rate, so that there is no ratio" in found.notes


WIDE = {"scales": (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0), "rates": (0.03, 0.1, 0.3, 1.0, 3.0)}


def test_the_range_of_scales_is_wider_only_if_the_grid_can_tell() -> None:
    """Three points more: at least half a decade. Two more may be none at all."""

    def spans(points: int) -> mapped.Cell:
        own = {"none": WIDE["scales"][3:5], "batch": WIDE["scales"][2 : 4 + points - 1 + 1]}
        return lambda arm, scale, rate, seed: flat(0.95 if scale in own[arm] else 0.2)

    three = judged("robust_to_init", made(spans(3), **WIDE))
    assert three.verdict == "supported"
    at_one = next(each for each in three.estimates if each.name.endswith("rate 1"))
    assert (at_one.interval.low, at_one.interval.high) == (pytest.approx(0.5), pytest.approx(2.5))
    assert judged("robust_to_init", made(spans(2), **WIDE)).verdict == "weaker"
    assert judged("robust_to_init", made(spans(1), **WIDE)).verdict == "inconclusive"


def test_a_plain_range_that_touches_the_edge_has_no_upper_bound() -> None:
    cell = lambda arm, scale, rate, seed: flat(0.95 if arm == "batch" or scale >= 0.3 else 0.2)  # noqa: E731
    assert judged("robust_to_init", made(cell, **WIDE)).verdict == "inconclusive"


def test_weights_that_stop_growing() -> None:
    def cell(arm: str, scale: float, rate: float, seed: int) -> Run:
        weights = (scale, 2.0, 2.0 * (1.5 if arm == "none" else 1.1 + seed / 100))
        return Run(rising(50), weights=weights, gradient=0.3 / scale if arm == "batch" else 0.3)

    found = judged("parameter_growth", made(cell))
    assert found.verdict == "supported"
    slopes = {each.arm: each.interval.value for each in found.estimates if each.name.startswith("slope")}
    assert slopes == {"none": pytest.approx(0.0, abs=1e-9), "batch": pytest.approx(-1.0)}
    assert any("--experiments first_layer" in note for note in found.notes)
    assert found.notes[0].startswith("The claim is new since the first report.")


def test_a_first_layer_ten_times_as_large() -> None:
    first = mapped.tables(
        lambda arm, factor, rate, seed: Run(rising(50, 0.95 if arm == "batch" or factor == 1 else 0.5),
                                            diverged_at=400 if (arm, factor, seed) == ("none", 10, 2) else None),
        "first_layer", scales=(1.0, 10.0), rates=(1.0,),
    )  # fmt: skip
    factor = "model.first_layer_scale"
    runs = first.runs.rename(columns={"model.init_scale": factor})
    # As tables hold it: at its default the key leaves no trace.
    first = dataclasses.replace(first, runs=runs.assign(**{factor: runs[factor].where(runs[factor] != 1.0)}))
    found = judged("parameter_growth", made(lambda *cell: Run(rising(50), weights=(1.0, 2.0, 2.5))), first)
    lost = {each.arm: each.interval for each in found.estimates if "first layer ×10" in each.name}
    assert lost["batch"].value == pytest.approx(0.0)
    assert lost["none"].value == pytest.approx(-0.45, abs=0.01)
    assert lost["none"].n == 2
    assert "first layer ×10: 1 runs of the arm none diverged" in found.notes


def test_a_gain_that_needs_large_rates() -> None:
    """At equal rates below the plain network's best there is none; BN is best where the plain network fails."""

    def cell(arm: str, scale: float, rate: float, seed: int) -> Run:
        if rate == 1.0:
            return flat(0.2 if arm == "none" else 0.98 + seed / 1000)
        return flat(0.92 + rate / 10 + seed / 1000)

    found = judged("gain_needs_large_rates", made(cell))
    assert found.verdict == "supported"
    gains = {each.name[:12]: each.interval.value for each in found.estimates}
    assert gains["gain of final"[:12]] == pytest.approx(0.98 - 0.95)
    assert gains["gain at equal"[:12]] == pytest.approx(0.0)
    small = judged("gain_needs_large_rates", made(cell, rates=(0.3, 1.0)))
    assert small.verdict == "not run"
    assert "both arms train in 0 cells below rate 0.3" in small.notes[0]


def test_without_a_map_nothing_is_judged_and_the_way_to_it_is_named() -> None:
    for claim in operating_points.CLAIMS:
        found = claim.judge(mapped.results())
        assert found.verdict == "not run"
        assert "python scripts/reproduce.py --experiments operating_points" in found.notes[0]
    asked = operating_points.CLAIMS[0].judge(mapped.results(treatment="group"))
    assert asked.notes[0].endswith("--treatment group")


def test_another_normaliser_is_asked_the_same() -> None:
    cell = lambda arm, s, r, seed: flat(0.95 + (arm == "group") / 100 + seed / 1000)  # noqa: E731
    found = judged("higher_accuracy", made(cell, arms=("none", "group")), treatment="group")
    assert found.verdict == "supported"
    assert {each.arm for each in found.estimates} == {"group"}


@pytest.mark.parametrize("lost", ["none", "batch", "both"])
def test_runs_that_diverge_are_data(lost: str) -> None:
    def cell(arm: str, scale: float, rate: float, seed: int) -> Run:
        return Run(rising(50), diverged_at=40 if lost in (arm, "both") else None)

    verdicts = {claim.slug: claim.judge(mapped.results(made(cell))).verdict for claim in operating_points.CLAIMS}
    assert verdicts["faster_training"] == "inconclusive"
    empty = judged("faster_training", made(cell)).primary
    assert empty is not None
    assert empty.said == "no cells to judge"
    assert set(verdicts.values()) <= {"inconclusive", "not run", "supported", "contradicted"}
    found = judged("faster_training", made(cell))
    counts = {"none": "12 only batch", "batch": "12 only none", "both": "12 neither"}
    assert counts[lost] in found.notes[1]


def test_a_run_that_diverges_after_a_budget_still_counts_within_it() -> None:
    cell = lambda arm, s, r, seed: Run(rising(50), diverged_at=6000 if arm == "none" else None)  # noqa: E731
    results = mapped.results(made(cell))
    assert len(read(results).cells()) == 0
    assert len(read(results, until=5_000).cells()) == 12


def test_cells_that_lack_a_run_are_left_out_and_counted() -> None:
    whole = made(speeds(lambda scale, rate: 1 / 8))
    kept = whole.runs[whole.runs["run"] != "batch-0.1-0.3-sigmoid-s1"]
    found = judged("faster_training", dataclasses.replace(whole, runs=kept))
    assert found.primary is not None
    assert found.primary.said.startswith("of 11 cells")
    assert "1 cells lack a run and are left out" in found.notes


def test_a_map_of_several_networks_is_refused() -> None:
    one, other = (made(speeds(lambda scale, rate: 1 / 8)) for _ in range(2))
    both = dataclasses.replace(one, runs=pd.concat([one.runs, other.runs.assign(run=other.runs["run"] + "b")]))
    found = judged("faster_training", both)
    assert found.verdict == "not run"
    assert "differ in more than initial scale, rate, arm and seed" in found.notes[0]
