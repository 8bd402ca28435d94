"""Statistics estimated anew against the moving average: the networks of batch_size, known answers, the rule."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from judging import judge
from torch import nn

from bnrepro import store
from bnrepro.claims import batch_size, precise_statistics
from bnrepro.claims.claim import tables_of
from bnrepro.config.compose import Composer
from bnrepro.data import load
from bnrepro.measurements import base
from bnrepro.measurements import precise_statistics as measurement
from bnrepro.norm import PopulationStatistics
from bnrepro.stats import CONTRADICTED, INCONCLUSIVE, NOT_RUN, SUPPORTED
from bnrepro.stats.selection import lasts
from bnrepro.tables import Results
from bnrepro.training.loop import Trainer

SMALL = {"data": "digits", "examples": 1200, "seeds": 1, "sizes": [4, 60], "rates": [1, 1]}


def test_the_networks_are_those_of_batch_size_at_its_best_rates() -> None:
    tables = tables_of(Results(store.committed_results()), "batch_size")
    runs, _ = batch_size.at_best_rates(tables)
    best = runs[runs["arm"] == "batch"].groupby("batch_size")["optimizer.lr"].unique()
    with Composer():
        settings = base.composed("precise_statistics")["measurement"]
    own = measurement.own_training(**settings)
    assert {config.batch_size: [config.optimizer.lr] for config in own} == best.map(list).to_dict()
    steps = tables.runs.groupby("batch_size")["last_step"].max().to_dict()
    assert {config.batch_size: config.steps for config in own} == steps
    assert settings["seeds"] == tables.runs["seed"].nunique()
    assert {config.norm["name"] for config in own} == {"batch"}


def test_the_moving_average_is_the_runs_own_and_algorithm_2_goes_by_its_mini_batches() -> None:
    frame = measurement.measure(**SMALL, population=600, large=60)  # pyright: ignore
    found = frame.set_index(["batch", "statistics"])["value"]
    assert list(found.index) == [(size, name) for size in (4, 60) for name in precise_statistics.LOOKS]
    # At the size of the large mini-batches both estimates are one.
    assert found[60, "Algorithm 2"] == found[60, "Algorithm 2, large mini-batches"]
    assert found[4, "Algorithm 2"] != found[4, "Algorithm 2, large mini-batches"]
    own = measurement.own_training(**SMALL)[1]  # pyright: ignore
    trainer = Trainer(own, load(own.data))
    metrics = trainer.run().tables["metrics"]
    [last] = [line for line in metrics if line.startswith("20,1200,test,accuracy,")]
    assert found[60, "moving average"] == pytest.approx(float(last.rsplit(",", 1)[1]), abs=1e-6)


def test_wrong_statistics_are_seen_in_the_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    right = measurement.measure(**SMALL, population=600, large=60).set_index("statistics")["value"]  # pyright: ignore

    def wrong(model: nn.Module, batches: object) -> dict[str, PopulationStatistics]:
        zeros, ones = torch.zeros, torch.ones
        layers = {name: module for name, module in model.named_modules() if hasattr(module, "running_mean")}
        return {
            name: PopulationStatistics(zeros(layer.num_features), ones(layer.num_features))  # pyright: ignore
            for name, layer in layers.items()
        }

    monkeypatch.setattr(measurement, "population_statistics", wrong)
    found = measurement.measure(**SMALL, population=600, large=60).set_index("statistics")["value"]  # pyright: ignore
    assert found["moving average"].equals(right["moving average"])
    assert (found["Algorithm 2"] < right["Algorithm 2"]).all()


def table(gains: dict[int, float]) -> pd.DataFrame:
    rows = []
    for size, gain in gains.items():
        for seed in range(4):
            for name in precise_statistics.LOOKS:
                gained = 0.0 if name == "moving average" else gain * (1 + 0.01 * seed)
                rows.append((size, 1.0, seed, name, "accuracy", 0.8 + 0.01 * seed + gained, "digits"))
    return pd.DataFrame(rows, columns=measurement.COLUMNS)


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ({2: 0.1, 16: 0.05, 256: 0.01}, SUPPORTED),
        ({2: 0.01, 16: 0.05, 256: 0.1}, CONTRADICTED),  # larger where mini-batches are large
        ({2: -0.01, 16: -0.05, 256: -0.1}, CONTRADICTED),  # falls with the size, but is a loss at every size
    ],
)
def test_verdict_asks_for_a_gain_that_falls_with_the_size(gains: dict[int, float], verdict: str) -> None:
    judgement = judge("precise_statistics", table(gains))
    assert judgement.verdict == verdict
    assert judgement.primary is not None
    ends = [gains[2], gains[256]]
    assert (judgement.primary.interval.value < 0) == (ends[1] < ends[0])


def test_a_gain_at_the_smallest_size_that_may_be_none_decides_nothing() -> None:
    frame = table({2: 0.02, 16: 0.0, 256: -0.05})
    frame.loc[(frame["batch"] == 2) & (frame["seed"] == 0) & (frame["statistics"] == "Algorithm 2"), "value"] -= 0.08
    assert judge("precise_statistics", frame).verdict == INCONCLUSIVE


def test_a_size_at_which_a_run_diverged_is_left_out_with_a_note() -> None:
    frame = table({2: 0.1, 16: 0.05, 256: 0.01})
    chosen = (frame["batch"] == 2) & (frame["seed"] == 1)
    lost = frame[chosen].head(1).assign(metric="diverged", value=7.0)
    judgement = judge("precise_statistics", pd.concat([frame[~chosen], lost]))
    assert judgement.notes[0] == "2 a mini-batch: 1 run diverged; this size is left out"
    assert not any(each.name.endswith(", 2 a mini-batch") for each in judgement.estimates)
    assert judge("precise_statistics", frame.assign(metric="diverged")).verdict == NOT_RUN


def test_the_committed_networks_are_those_of_batch_size_to_the_digit() -> None:
    """The moving average's accuracy is that of the last evaluation of the same run there."""
    results = Results(store.committed_results())
    tables, found = tables_of(results, "batch_size"), results.measured("precise_statistics")
    assert found is not None
    runs = lasts(tables)
    keys = ["batch_size", "optimizer.lr", "seed"]
    expected = runs[runs["arm"] == "batch"].set_index(keys)["end"]
    own = found.frame[found.frame["statistics"] == "moving average"].set_index(["batch", "rate", "seed"])["value"]
    assert len(own) == 30
    assert own.to_numpy() == pytest.approx(expected.loc[own.index].to_numpy(), abs=1e-6)
