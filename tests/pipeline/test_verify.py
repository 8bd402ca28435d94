"""A committed table that this code produces is recognised, and one that it does not is refused."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from fabricated import vouch
from rich.console import Console

from bnrepro import store, tables
from bnrepro.config.build import from_record
from bnrepro.config.identity import scientific
from bnrepro.config.schema import Config
from bnrepro.pipeline.verify import record_of, verify, verify_all
from bnrepro.runs import run
from bnrepro.runs.planned import plan

SHORT = ("norm=none,batch", "optimizer.lr=0.5", "model.init_scale=0.1", "seed=0", "steps=300")
"""Longer than what is trained again, and one run an arm, whatever its experiment sweeps."""


def made(sweep: Callable[..., list[Config]], folder: Path, experiment: str = "mnist_training", *more: str) -> None:
    for config in sweep(*SHORT, f"experiment={experiment}", *more):
        run.execute(run.plan(config))
    tables.write_experiment(experiment, store.runs_of(experiment), folder)


@pytest.mark.parametrize(
    ("experiment", "more"),
    [("mnist_training", ()), ("mnist_tuning", ("optimizer.lr=0.3,1",)), ("shift", ()), ("first_layer", ())],
)
def test_what_the_code_produces_agrees_to_the_digit(
    experiment: str, more: tuple[str, ...], sweep: Callable[..., list[Config]], tmp_path: Path
) -> None:
    made(sweep, tmp_path, experiment, *more)
    found = verify(experiment, tmp_path)
    assert found.agrees
    assert found.run.startswith("batch-s0-")
    assert found.equal == found.compared > 20


def test_every_normaliser_of_an_experiment_has_a_run_trained_again(
    sweep: Callable[..., list[Config]], tmp_path: Path
) -> None:
    for config in sweep("norm=none,batch,layer", *SHORT[1:], "experiment=mnist_training"):
        run.execute(run.plan(config))
    tables.write_experiment("mnist_training", store.runs_of("mnist_training"), tmp_path)
    said = io.StringIO()
    assert verify_all(tmp_path, None, Console(file=said, width=160)) == 0
    rows = [line for line in said.getvalue().splitlines() if "0.0e+00" in line]
    assert ["batch-s0" in rows[0], "layer-s0" in rows[1]] == [True, True]
    assert len(rows) == 2


def test_another_number_is_noticed(sweep: Callable[..., list[Config]], tmp_path: Path) -> None:
    made(sweep, tmp_path)
    path = tmp_path / "tables" / "mnist_training.csv"
    lines = path.read_text().splitlines()
    changed = next(i for i, line in enumerate(lines) if line.startswith("batch") and ",100,2000,test,loss," in line)
    head, _, value = lines[changed].rpartition(",")
    lines[changed] = f"{head},{float(value) * 1.001:.6g}"
    path.write_text("\n".join([*lines, ""]))
    vouch(tmp_path)
    assert not verify("mnist_training", tmp_path).agrees


def test_without_a_table_nothing_agrees(tmp_path: Path) -> None:
    assert not verify("mnist_training", tmp_path).agrees


@pytest.mark.parametrize("experiment", ["mnist_training", "landscape"])
def test_a_row_of_the_runs_table_is_its_configuration(
    experiment: str, sweep: Callable[..., list[Config]], tmp_path: Path
) -> None:
    made(sweep, tmp_path, experiment)
    found = tables.read_experiment(experiment, tmp_path)
    assert found is not None
    originals = sweep(*SHORT, f"experiment={experiment}")
    ordered = sorted(originals, key=lambda config: config.norm["name"])
    for config, name in zip(ordered, found.runs["run"], strict=True):
        recorded = record_of(experiment, name, tmp_path).config
        assert scientific(from_record(experiment, recorded)) == scientific(config)


def test_a_run_of_a_fleet_is_trained_again_by_one(sweep: Callable[..., list[Config]], tmp_path: Path) -> None:
    for config in sweep(*SHORT, "experiment=mnist_training"):
        run.execute(plan(config, together=True))
    tables.write_experiment("mnist_training", store.runs_of("mnist_training"), tmp_path)
    found = verify("mnist_training", tmp_path)
    assert (found.how, found.agrees) == ("fleet-5, cpu", True)
    assert found.equal == found.compared > 20


def test_a_run_of_a_card_is_compared_by_tolerance_where_there_is_none(
    sweep: Callable[..., list[Config]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(sweep, tmp_path)
    path = tmp_path / "tables" / "mnist_training.runs.csv"
    path.write_text(path.read_text().replace(",cpu,float32", ",cuda,float32"))
    vouch(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    found = verify("mnist_training", tmp_path)
    assert (found.how, found.agrees, found.tolerance) == ("single, cuda; here cpu", True, 1e-3)
    assert found.compared < 20
