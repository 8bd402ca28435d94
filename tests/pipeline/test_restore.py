"""Committed tables give back the runs they were made from: the same tables again, to the byte, and nothing trained."""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fabricated import vouch
from rich.console import Console

from bnrepro import store, tables
from bnrepro.config.schema import Config
from bnrepro.errors import StoreError
from bnrepro.pipeline import restore
from bnrepro.runs import run
from bnrepro.runs.planned import plan
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


def test_what_a_probe_says_of_a_whole_run_is_restored_too(sweep: Sweep, tmp_path: Path, outputs: Path) -> None:
    varied = ("norm=none,batch", "optimizer.lr=1,1e6", "model.activation=relu", "seed=0", "steps=60")
    planned = [run.plan(config) for config in sweep("experiment=first_layer", *varied)]
    for item in planned:
        run.execute(item)
    tables.write_experiment("first_layer", [item.folder for item in planned], tmp_path / "one")
    found = Results(tmp_path / "one").tables("first_layer")
    assert found is not None
    assert {"finished", "diverged"} == set(found.runs["status"])
    assert set(found.probes) == {"drift", "saturation", "norms"}
    finished = set(found.runs.loc[found.runs["status"] == "finished", "run"])
    assert set(found.probes["drift"]["run"]) == finished
    shutil.rmtree(outputs)
    assert restore.restore_runs("first_layer", planned, Results(tmp_path / "one")) == len(planned) == 8
    tables.write_experiment("first_layer", store.runs_of("first_layer"), tmp_path / "two")
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


KEPT = ("keep_weights=false", "model.activation=relu", "optimizer.lr=0.5")


def damaged(folder: Path, table: str, change: Callable[[str], str]) -> None:
    """One table changed, and digests that fit it."""
    path = folder / "tables" / f"{table}.csv"
    path.write_text(change(path.read_text()))
    vouch(folder)


@pytest.mark.parametrize(
    ("table", "change", "reason"),
    [
        # Every run lacks the step, so that no table contradicts another.
        ("mnist_training", lambda text: re.sub(r".*,20,400,.*\n", "", text), "it has no lines of step 20"),
        ("mnist_training", lambda text: text.replace(",20,400,", ",21,420,"), "it has no lines of step 20"),
        ("mnist_training", lambda text: re.sub(r"batch-s1.*\n", "", text), "no lines"),
        ("mnist_training.runs", lambda text: text.replace(",finished,", ",,", 1), "status is blank"),
        ("mnist_training.runs", lambda text: text.replace("batch-s1-", "own-s1-"), "not in the table of runs"),
        ("mnist_training.timing", lambda text: re.sub(r"batch-s1.*\n", "", text), "no row"),
        ("mnist_training.timing", lambda text: re.sub(r",2\n", ",two\n", text.replace(",1\n", ",2\n")), "no record"),
    ],
)
def test_tables_that_do_not_fit_restore_nothing(
    sweep: Sweep, tmp_path: Path, outputs: Path, table: str, change: Callable[[str], str], reason: str
) -> None:
    planned = trained(sweep, tmp_path, *KEPT)
    shutil.rmtree(outputs)
    damaged(tmp_path, table, change)
    with pytest.raises(StoreError, match=rf"mnist_training(\.\w+)?\.csv.*{reason}.*git checkout"):
        restore.restore_runs("mnist_training", planned, Results(tmp_path))
    assert not outputs.exists()


def test_all_tables_are_looked_at_before_the_first_run_is_restored(sweep: Sweep, tmp_path: Path, outputs: Path) -> None:
    trained(sweep, tmp_path, *KEPT)
    shutil.rmtree(outputs)
    with (tmp_path / "tables" / "mnist_training.csv").open("a") as file:
        file.write("\n")
    with pytest.raises(StoreError, match=r"mnist_training\.csv has changed"):
        restore.restore_all(tmp_path, "smoke", Console(file=io.StringIO()))
    assert not outputs.exists()


def full(*given: object, **named: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(("owner", "call"), [(os, "fsync"), (Path, "mkdir"), (Path, "replace")])
def test_a_disk_that_refuses_is_one_line(
    sweep: Sweep, tmp_path: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch, owner: object, call: str
) -> None:
    planned = trained(sweep, tmp_path, *KEPT)
    shutil.rmtree(outputs)
    with monkeypatch.context() as patch:
        patch.setattr(owner, call, full)
        with pytest.raises(StoreError, match=r"cannot write .*No space left on device"):
            restore.restore_runs("mnist_training", planned, Results(tmp_path))
    assert restore.restore_runs("mnist_training", planned, Results(tmp_path)) == 4


@pytest.mark.parametrize("place", ["outputs", "runs", "mnist_training"])
def test_a_file_where_a_folder_belongs_is_one_line(sweep: Sweep, tmp_path: Path, outputs: Path, place: str) -> None:
    planned = trained(sweep, tmp_path, *KEPT)
    shutil.rmtree(outputs)
    path = {"outputs": outputs, "runs": outputs / "runs", "mnist_training": outputs / "runs" / "mnist_training"}[place]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    with pytest.raises(StoreError, match=r"cannot (write|read) .*outputs"):
        restore.restore_runs("mnist_training", planned, Results(tmp_path))


@pytest.mark.parametrize("together", [True, False])
def test_runs_of_either_engine_are_restored(together: bool, sweep: Sweep, tmp_path: Path, outputs: Path) -> None:
    configs = sweep("experiment=mnist_training", "norm=none,batch", "seed=0,1", "keep_weights=false")
    for place, config in enumerate(configs):
        run.execute(plan(config, together=place % 2 == 0))
    tables.write_experiment("mnist_training", store.runs_of("mnist_training"), tmp_path / "one")
    assert ",fleet-5," in Results(tmp_path / "one").text("mnist_training.runs")
    shutil.rmtree(outputs)
    planned = [plan(config, together=together, devices=("cpu", "cuda")) for config in configs]
    assert restore.restore_runs("mnist_training", planned, Results(tmp_path / "one")) == 4
    assert all(plan(config, together=together).folder.is_done() for config in configs)
    tables.write_experiment("mnist_training", store.runs_of("mnist_training"), tmp_path / "two")
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
