"""Measurements on trained networks: each from its configuration to its verdict, and known answers."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from judging import judge
from torch import Tensor, nn

from bnrepro import data, tables
from bnrepro.config.compose import Composer
from bnrepro.config.schema import Config
from bnrepro.data import fallback
from bnrepro.errors import ConfigError, DataUnavailable
from bnrepro.measurements import base, networks, population_statistics
from bnrepro.norm import BatchNorm
from bnrepro.runs import run
from bnrepro.stats import CONTRADICTED, NOT_RUN, SUPPORTED, VERDICTS
from bnrepro.tables import Results

TRAINING = ["data=digits", "wandb=disabled", "steps=40", "model.hidden=[12,8]", "probes.activations.enabled=false"]
SMALLER = {
    "population_statistics": ["measurement.batch_sizes=[2,36]"],
    "transfer": ["measurement.steps=5"],
    "convention_traps": ["measurement.data=digits", "measurement.steps=30", "measurement.graph_steps=10"],
    "layer_jacobian": ["measurement.data=digits", "measurement.steps=20", "measurement.depths=[3]"],
    "precise_statistics": ["measurement.data=digits", "measurement.examples=1200", "measurement.population=300"],
    "step_cost": [
        f"measurement.models.mlp.{arm}=['experiment=mnist_training','norm={arm}','data=digits']"
        for arm in ("none", "batch")
    ],
    "gradient_estimate": ["measurement.data=digits", "measurement.steps=20", "measurement.batch_sizes=[1,8,64]"],
}


@pytest.mark.parametrize("name", SMALLER)
def test_from_configuration_to_verdict_and_figure(name: str, tmp_path: Path) -> None:
    declared = importlib.import_module(f"bnrepro.claims.{name}").DECLARED
    [claim] = declared.claims
    nothing, results = Results(tmp_path / "nothing"), Results(tmp_path / "results")
    assert claim.judge(nothing).verdict == NOT_RUN
    assert declared.figures(nothing) == {}
    with Composer() as composer:
        if hasattr(importlib.import_module(f"bnrepro.measurements.{name}"), "NEEDS"):
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

    monkeypatch.setattr(fallback, "open_dataset", load)
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


def test_configured_runs_differ_from_the_experiments_own_in_nothing_that_trains(
    composed: Callable[..., list[Config]],
) -> None:
    own = composed("experiment=mnist_training", "norm=none", "seed=0")[0]
    found = networks.configuration("experiment=mnist_training", "norm=none", "data=digits", f"steps={own.steps}")
    assert (found.model, found.optimizer, found.batch_size) == (own.model, own.optimizer, own.batch_size)


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
        last = item.folder.read()[1]["metrics.csv"].decode().split("test,accuracy,")[-1].split()[0]
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
