"""What a slip, a step and a batch cost: known answers of the measurements that train or time a network."""

from __future__ import annotations

import itertools
import math

import pandas as pd
import pytest
import torch
from judging import judge
from torch import nn

from bnrepro.claims import Evidence
from bnrepro.claims import gradient_estimate as gradient_claim
from bnrepro.claims import step_cost as cost_claim
from bnrepro.data import Split
from bnrepro.measurements import convention_traps, gradient_estimate, step_cost
from bnrepro.norm.pitfalls import GraphedRunningMean
from bnrepro.stats import CONTRADICTED, INCONCLUSIVE, NOT_RUN, SUPPORTED, WEAKER, Estimate, Interval

# ---------------------------------------------------------------------------------------------- convention_traps


def test_what_the_variants_have_in_common_is_equal_to_the_digit() -> None:
    variants = ["SwappedMomentum", "PlainTensorAffine", "NoAffine"]
    frame = convention_traps.measure("digits", variants, steps=60, seeds=1, graph_steps=8, test_batch=60)
    values = frame.set_index(["variant", "steps", "metric"])["value"].sort_index()
    reference = values["ReferenceBatchNorm"]
    # The momentum touches no gradient: the same training, other running statistics.
    assert values["SwappedMomentum", 60, "accuracy by batch"] == reference[60, "accuracy by batch"]
    assert values["SwappedMomentum", 60, "accuracy"] != reference[60, "accuracy"]
    assert values["PlainTensorAffine", 60].equals(values["NoAffine", 60])
    graphed = values["GraphedRunningMean", 8]
    assert graphed["can be copied"] == 0
    assert graphed["graph nodes per step"] > 3
    assert graphed["accuracy"] == reference[8, "accuracy"]
    assert set(frame["data"]) == {"UCI digits, binary"}


def test_the_graph_grows_by_the_same_number_of_nodes_every_step() -> None:
    layer, counts = GraphedRunningMean(3), [0]
    for _ in range(4):
        layer(torch.randn(5, 3)).sum().backward()
        counts.append(convention_traps.nodes([layer]))
    growth = [after - before for before, after in itertools.pairwise(counts[1:])]
    assert len(set(growth)) == 1
    assert growth[0] > 0
    assert not convention_traps.can_be_copied(layer)
    layer.running_mean = layer.running_mean.detach()  # pyright: ignore
    assert convention_traps.nodes([layer]) == 0
    assert convention_traps.can_be_copied(layer)


def test_a_variant_is_compared_with_the_reference_of_its_seed_after_as_many_steps() -> None:
    rows = [
        (variant, seed, steps, "digits", metric, value + 0.01 * seed)
        for variant, steps, value in (
            ("ReferenceBatchNorm", 100, 0.9), ("ReferenceBatchNorm", 10, 0.5),
            ("SwappedMomentum", 100, 0.8), ("GraphedRunningMean", 10, 0.5),
        )
        for seed in range(3)
        for metric in ("accuracy", "accuracy by batch")
    ]  # fmt: skip
    rows += [
        ("GraphedRunningMean", 0, 10, "digits", metric, 0.0) for metric in ("can be copied", "graph nodes per step")
    ]
    rows += [("DetachedStatistics", seed, 100, "digits", "diverged", 7) for seed in range(3)]
    judgement = judge(
        "convention_traps", pd.DataFrame(rows, columns=["variant", "seed", "steps", "data", "metric", "value"])
    )
    assert judgement.primary is not None
    assert judgement.primary.interval.value == pytest.approx(-0.1)
    assert judgement.primary.interval.high == pytest.approx(-0.1)
    found = {each.arm: each.interval.value for each in judgement.estimates}
    assert found["GraphedRunningMean"] == pytest.approx(0)
    assert "DetachedStatistics" not in found
    assert any(note.startswith("3 of 3 runs diverged") for note in judgement.notes)


# ----------------------------------------------------------------------------------------------------- step_cost


def times(without: list[float], treated: list[float]) -> pd.DataFrame:
    rows = [
        ("mlp", arm, "digits", turn, seconds, 1.0)
        for arm, all_seconds in (("none", without), ("batch", treated))
        for turn, seconds in enumerate(all_seconds)
    ]
    return pd.DataFrame(rows, columns=["model", "arm", "data", "round", "seconds", "core"])


def test_the_ratio_is_formed_within_each_round_and_decides() -> None:
    # A machine that is ten times slower in one round is so for both arms.
    judgement = judge("step_cost", times([1.0, 10.0, 1.0], [1.5, 16.0, 1.4]))
    assert judgement.verdict == SUPPORTED
    assert judgement.primary is not None
    assert judgement.primary.interval.value == pytest.approx((1.5 * 1.6 * 1.4) ** (1 / 3))
    assert judgement.primary.interval.n == 3
    assert any("time to accuracy: no table of mnist_training" in note for note in judgement.notes)
    assert judge("step_cost", times([2.0, 2.0, 2.1], [1.0, 1.1, 1.0])).verdict == CONTRADICTED
    assert judge("step_cost", times([1.0, 1.0, 1.0], [1.2, 0.8, 1.0])).verdict == INCONCLUSIVE


def test_the_time_to_an_accuracy_is_steps_times_the_cost_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = pd.DataFrame({"without": [100.0, 200.0], "with": [25.0, 32.0]})
    steps = Estimate("steps", "batch", Interval(0.25, 0.25, 0.25, 2), True)
    monkeypatch.setattr(cost_claim, "faster_training", lambda results: Evidence([steps], ["a note"], seeds))
    judgement = judge("step_cost", times([1.0, 1.0], [2.0, 2.0]))
    found = {each.name: each.interval.value for each in judgement.estimates}
    assert found[cost_claim.TIME] == pytest.approx(2 * (0.25 * 0.16) ** 0.5)
    assert "a note" in judgement.notes
    other = judge("step_cost", times([1.0, 1.0], [2.0, 2.0]), treatment="group")
    assert cost_claim.TIME not in {each.name for each in other.estimates}


@pytest.mark.parametrize("lost", [{"model": "mlp"}, {"arm": "none"}, {"arm": "batch"}])
def test_without_the_deciding_network_in_both_arms_it_is_not_run_with_the_reason(lost: dict[str, str]) -> None:
    [(column, value)] = lost.items()
    frame = times([1.0, 1.0], [2.0, 2.0])
    frame = pd.concat([frame, frame.assign(model="inception")])
    judgement = judge("step_cost", frame[frame[column] != value])
    assert judgement.verdict == NOT_RUN
    assert judgement.notes == ["the table of step_cost has no times of mlp with both none and batch"]


def test_every_arm_of_every_model_is_timed_in_every_round() -> None:
    arms = {arm: ["data=digits", f"norm={arm}", "optimizer.lr=0.1", "model.hidden=[4]"] for arm in ("none", "batch")}
    frame = step_cost.measure({"small": arms, "again": arms}, rounds=2, slices=1, steps={"small": 2, "again": 3})
    assert frame.groupby(["model", "arm"])["round"].apply(list).tolist() == [[0, 1]] * 4
    assert (frame["seconds"] > 0).all()


# --------------------------------------------------------------------------------------------- gradient_estimate


def test_the_full_gradient_does_not_depend_on_the_parts_it_is_taken_in(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Linear(4, 3).double()
    split = Split(torch.randn(23, 4, dtype=torch.float64), torch.randint(0, 3, (23,)))
    whole = gradient_estimate.gradient(model, split.images, split.labels)
    monkeypatch.setattr(gradient_estimate, "EVALUATION_CHUNK", 5)
    torch.testing.assert_close(gradient_estimate.full_gradient(model, split), whole)
    singles = [gradient_estimate.gradient(model, split.images[[i]], split.labels[[i]]) for i in range(23)]
    torch.testing.assert_close(torch.stack(singles).mean(0), whole)


def test_the_error_falls_as_the_root_of_the_batch() -> None:
    frame = gradient_estimate.measure("digits", [1, 4, 16, 64, 256], seeds=3, steps=30, draws=16, drawn=256, rounds=1)
    errors = frame[frame["metric"] == "error"].pivot(index="repetition", columns="batch", values="value")
    assert errors.apply(gradient_claim.slope, axis=1).mean() == pytest.approx(-0.5, abs=0.1)
    assert (frame["value"] > 0).all()


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((-0.55, -0.45), SUPPORTED), ((-0.65, -0.45), WEAKER), ((-0.45, -0.35), WEAKER), ((-1.1, -0.9), WEAKER),
        ((-0.1, 0.1), INCONCLUSIVE), ((0.1, 0.2), CONTRADICTED), ((math.nan, math.nan), INCONCLUSIVE),
    ],
)  # fmt: skip
def test_the_slope_must_lie_within_the_margin_on_both_sides(interval: tuple[float, float], verdict: str) -> None:
    assert gradient_claim.RULE.verdict(Interval(-0.5, *interval, 5)) == verdict


@pytest.mark.parametrize("exponent", [-0.5, -1.0, 0.0])
def test_the_slope_is_the_exponent(exponent: float) -> None:
    sizes = [1, 2, 4, 8, 64]
    errors = pd.Series([3.0 * size**exponent for size in sizes], index=sizes)
    assert gradient_claim.slope(errors) == pytest.approx(exponent)
