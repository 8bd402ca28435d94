"""Measurements on trained networks: each from its configuration to its verdict, and known answers."""

from __future__ import annotations

import importlib
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from bnrepro import data, run, tables
from bnrepro.claims import gradient_estimate as gradient_claim
from bnrepro.claims import step_cost as cost_claim
from bnrepro.claims.base import Judgement, Results
from bnrepro.config import Config
from bnrepro.data import Split
from bnrepro.errors import ConfigError, DataUnavailable
from bnrepro.measure import base, convention_traps, gradient_estimate, networks, population_statistics, step_cost
from bnrepro.norm import BatchNorm
from bnrepro.norm.variants import GraphedRunningMean
from bnrepro.plan import Composer
from bnrepro.stats import CONTRADICTED, INCONCLUSIVE, NOT_RUN, SUPPORTED, VERDICTS, WEAKER, Interval
from bnrepro.tables import Measured

TRAINING = ["data=digits", "wandb=disabled", "steps=40", "model.hidden=[12,8]", "probes.activations.enabled=false"]
SMALLER = {
    "population_statistics": ["measurement.batch_sizes=[2,36]"],
    "convention_traps": ["measurement.data=digits", "measurement.steps=30", "measurement.graph_steps=10"],
    "step_cost": [
        f"measurement.models.mlp.{arm}=['experiment=mnist_training','norm={arm}','data=digits']"
        for arm in ("none", "batch")
    ],
    "gradient_estimate": ["measurement.data=digits", "measurement.steps=20", "measurement.batch_sizes=[1,8,64]"],
}


def judge(name: str, frame: pd.DataFrame, treatment: str = "batch") -> Judgement:
    """The verdict of the measurement's one claim on a table that was not stored, where nothing else has been run."""
    [claim] = importlib.import_module(f"bnrepro.claims.{name}").DECLARED.claims
    found = SimpleNamespace(
        measured=lambda asked: Measured(asked, frame, pd.Series()), tables=lambda asked: None, treatment=treatment
    )
    return claim.judge(found)


@pytest.mark.parametrize("name", SMALLER)
def test_from_configuration_to_verdict_and_figure(name: str, tmp_path: Path) -> None:
    declared = importlib.import_module(f"bnrepro.claims.{name}").DECLARED
    [claim] = declared.claims
    nothing, results = Results(tmp_path / "nothing"), Results(tmp_path / "results")
    assert claim.judge(nothing).verdict == NOT_RUN
    assert declared.figures(nothing) == {}
    with Composer() as composer:
        if name == "population_statistics":
            for config in composer.sweep(["experiment=mnist_training", "profile=smoke", *TRAINING]):
                run.execute(run.plan(config))
        planned = base.plan(composer, name, ["profile=smoke", *SMALLER[name]], TRAINING)
        assert base.execute(planned) == "finished"
        # The command goes on to compose with its own composer after a measurement has opened one.
        assert base.execute(base.plan(composer, name, ["profile=smoke", *SMALLER[name]], TRAINING)) == "skipped"
    tables.write_measurement(planned.folder, results.folder)
    judgement = claim.judge(results)
    assert judgement.verdict in VERDICTS
    assert judgement.verdict != NOT_RUN
    assert [estimate.primary for estimate in judgement.estimates].count(True) == 1
    assert [*declared.figures(results)] == [claim.figure]
    assert claim.figure.startswith(f"{name}_")


# -------------------------------------------------------------------------------------------- common to several


def test_where_mnist_is_nowhere_to_be_had_the_same_run_is_one_on_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    found = data.load

    def load(config: object) -> object:
        if getattr(config, "name", "") == "mnist":
            raise DataUnavailable("no MNIST")
        return found(config)  # pyright: ignore

    monkeypatch.setattr(data, "load", load)
    config = networks.configuration("experiment=mnist_training", "data=mnist", "norm=none", "steps=7")
    assert (config.data.name, config.steps, config.norm["name"]) == ("digits", 7, "none")
    assert config == networks.configuration("experiment=mnist_training", "data=digits", "norm=none", "steps=7")


def test_normalising_by_batch_changes_neither_the_network_nor_what_is_not_a_normalisation() -> None:
    model = nn.Sequential(BatchNorm(3, eps=1e-12).double(), nn.Dropout(0.9)).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    y = networks.normalising_by_batch(model)(5 + 7 * torch.randn(50, 3, dtype=torch.float64))
    torch.testing.assert_close(y.mean(0), torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(y.var(0, correction=0), torch.ones(3, dtype=torch.float64))
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_an_incomplete_last_batch_is_left_out_and_its_labels_too() -> None:
    scores = networks.scores(nn.Identity(), torch.eye(5), 2)
    assert torch.equal(scores, torch.eye(5)[:4])
    assert networks.accuracy(scores, torch.tensor([0, 1, 2, 0, 0])) == 3 / 4


# ------------------------------------------------------------------------------------------ population_statistics


class Placed(nn.Module):
    """Looks at the place in the batch (harmless) and, if told so, at the place's neighbours."""

    def __init__(self, neighbours: bool) -> None:
        super().__init__()
        self.neighbours = neighbours

    def forward(self, x: Tensor) -> Tensor:
        y = x * torch.arange(1.0, len(x) + 1)[:, None]
        return y + x.flip(0) if self.neighbours else y


@pytest.mark.parametrize("size", [2, 5, 16])
def test_only_what_others_do_counts_as_dependence(size: int) -> None:
    images = torch.randn(33, 4)
    assert population_statistics.exchanged(Placed(False), images, size) == (0, 0)
    dependence, changed = population_statistics.exchanged(Placed(True), images, size)
    assert dependence > 0.05
    assert changed > 0


def test_accuracy_is_the_runs_own_and_the_population_decides_alone(finished: Callable[..., run.Planned]) -> None:
    planned = [finished(f"norm={norm}", "keep_weights=true", "steps=60") for norm in ("none", "batch")]
    frame = population_statistics.measure([2, 36, 180, 256], 360, [base.load(item) for item in planned])
    values = frame.set_index(["arm", "statistics", "batch", "metric"])["value"]
    for item, statistics in zip(planned, ("none", "moving average"), strict=True):
        last = item.folder.read()["metrics.csv"].decode().split("test,accuracy,")[-1].split()[0]
        assert values[item.config.norm["name"], statistics, 180, "accuracy"] == pytest.approx(float(last), abs=1e-6)
    of_batch = values["batch"]
    for statistics in ("Algorithm 2", "moving average"):
        assert max(of_batch[statistics, size, "dependence"] for size in (2, 36, 180)) == 0
    assert min(of_batch["test batch", size, "dependence"] for size in (2, 36, 180)) > 1e-3
    assert of_batch["folded", 180, "disagreement"] <= 1e-5
    assert set(frame["batch"]) == {2, 36, 180}
    with pytest.raises(ConfigError, match="no two batches"):
        population_statistics.measure([256], 360, [base.load(planned[0])])


def test_the_smallest_dependence_contradicts_and_a_plain_network_says_nothing() -> None:
    columns = ["arm", "seed", "statistics", "batch", "metric", "value"]
    rows = [
        ("batch", seed, statistics, 2, metric, value)
        for seed in (0, 1)
        for statistics in ("moving average", "Algorithm 2", "test batch", "folded")
        for metric, value in (("dependence", 0.0), ("changed", 0.0), ("accuracy", 0.9), ("disagreement", 0.0))
    ]
    frame = pd.DataFrame(rows, columns=columns)
    assert judge("population_statistics", frame).verdict == SUPPORTED
    frame.loc[(frame["statistics"] == "Algorithm 2") & (frame["metric"] == "dependence"), "value"] = [0, 1e-9]
    assert judge("population_statistics", frame).verdict == CONTRADICTED
    plain = pd.DataFrame([("none", 0, "none", 2, "accuracy", 0.9)], columns=columns)
    assert judge("population_statistics", plain).verdict == NOT_RUN


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
    assert any("has not been run" in note for note in judgement.notes)
    assert judge("step_cost", times([2.0, 2.0, 2.1], [1.0, 1.1, 1.0])).verdict == CONTRADICTED
    assert judge("step_cost", times([1.0, 1.0, 1.0], [1.2, 0.8, 1.0])).verdict == INCONCLUSIVE


def test_the_time_to_an_accuracy_is_steps_times_the_cost_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = pd.DataFrame({"without": [100.0, 200.0], "with": [25.0, 32.0]})
    steps = cost_claim.Estimate("steps", "batch", Interval(0.25, 0.25, 0.25, 2), True)
    monkeypatch.setattr(cost_claim, "faster_training", lambda results: Judgement(SUPPORTED, [steps], ["a note"], seeds))
    judgement = judge("step_cost", times([1.0, 1.0], [2.0, 2.0]))
    found = {each.name: each.interval.value for each in judgement.estimates}
    assert found[cost_claim.pictures.TIME] == pytest.approx(2 * (0.25 * 0.16) ** 0.5)
    assert "a note" in judgement.notes
    other = judge("step_cost", times([1.0, 1.0], [2.0, 2.0]), treatment="group")
    assert cost_claim.pictures.TIME not in {each.name for each in other.estimates}


def test_every_arm_of_every_model_is_timed_in_every_round() -> None:
    arms = {arm: ["data=digits", f"norm={arm}", "optimizer.lr=0.1", "model.hidden=[4]"] for arm in ("none", "batch")}
    frame = step_cost.measure({"small": arms, "again": arms}, rounds=2, slices=1, steps=2)
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
    assert gradient_claim.within(Interval(-0.5, *interval, 5)) == verdict


@pytest.mark.parametrize("exponent", [-0.5, -1.0, 0.0])
def test_the_slope_is_the_exponent(exponent: float) -> None:
    sizes = [1, 2, 4, 8, 64]
    errors = pd.Series([3.0 * size**exponent for size in sizes], index=sizes)
    assert gradient_claim.slope(errors) == pytest.approx(exponent)


def test_configured_runs_differ_from_the_experiments_own_in_nothing_that_trains(
    composed: Callable[..., list[Config]],
) -> None:
    own = composed("experiment=mnist_training", "norm=none", "seed=0")[0]
    found = networks.configuration("experiment=mnist_training", "norm=none", "data=digits", f"steps={own.steps}")
    assert (found.model, found.optimizer, found.batch_size) == (own.model, own.optimizer, own.batch_size)
