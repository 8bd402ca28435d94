"""Committed tables give back the runs they were made from: the same tables again, to the byte, and nothing trained."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from bnrepro import store, tables
from bnrepro.config.schema import Config
from bnrepro.pipeline import restore
from bnrepro.runs import run
from bnrepro.tables import Results

Sweep = Callable[..., list[Config]]


def trained(sweep: Sweep, folder: Path, *overrides: str) -> list[run.Planned]:
    planned = [
        run.plan(config) for config in sweep("experiment=mnist_training", "norm=none,batch", "seed=0,1", *overrides)
    ]
    for item in planned:
        run.execute(item)
    tables.write_experiment("mnist_training", [item.folder for item in planned], folder)
    return planned


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "tables").iterdir())}


def test_the_same_tables_again_and_nothing_trained(sweep: Sweep, tmp_path: Path, outputs: Path) -> None:
    # Probes, a divergence, everything that a table may hold.
    planned = trained(sweep, tmp_path / "one", "keep_weights=false", "model.activation=relu", "optimizer.lr=0.5,1e6")
    statuses = Results(tmp_path / "one").text("mnist_training.runs")
    assert ",diverged," in statuses
    shutil.rmtree(outputs)
    assert restore.restore_runs("mnist_training", planned, Results(tmp_path / "one")) == len(planned) == 8
    assert {run.execute(item) for item in planned} == {"skipped"}
    tables.write_experiment("mnist_training", store.runs_of("mnist_training"), tmp_path / "two")
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


def test_another_configuration_is_not_restored(sweep: Sweep, tmp_path: Path, outputs: Path) -> None:
    trained(sweep, tmp_path, "keep_weights=false")
    shutil.rmtree(outputs)
    others = [run.plan(config) for config in sweep("experiment=mnist_training", "norm=batch", "seed=0", "steps=41")]
    assert restore.restore_runs("mnist_training", others, Results(tmp_path)) == 0
    assert not store.runs_of("mnist_training")


def test_runs_whose_networks_are_kept_are_left_to_be_trained(sweep: Sweep, tmp_path: Path, outputs: Path) -> None:
    planned = trained(sweep, tmp_path)
    assert all(item.config.keep_weights for item in planned)
    shutil.rmtree(outputs)
    assert restore.restore_runs("mnist_training", planned, Results(tmp_path)) == 0


def test_without_tables_there_is_nothing_to_restore(sweep: Sweep, tmp_path: Path) -> None:
    planned = [run.plan(config) for config in sweep("experiment=mnist_training", "norm=batch", "seed=0")]
    assert restore.restore_runs("mnist_training", planned, Results(tmp_path)) == 0
