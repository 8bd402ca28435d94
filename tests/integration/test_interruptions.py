"""Killed at any moment, or run twice at once: nothing finished is lost, nothing half-written is read, and the final
tables equal those of the undisturbed sweep byte for byte."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import NamedTuple

import processes
import pytest

from bnrepro.config.compose import Composer
from bnrepro.config.schema import Config
from bnrepro.store.tables import SUMS

OVERRIDES = [
    "data=digits",
    "wandb=disabled",
    "model.hidden=[12,8]",
    "model.dropout=0.2",
    "optimizer.momentum=0.9",
    "batch_size=20",
    "steps=30",
    "probes.activations.enabled=true",
    "probes.activations.examples=50",
    "checkpoint_every_s=1e-9",  # at every point of the schedule
    "norm=none,batch",
    "seed=0,1",
]
KILLS = 20
"""Evenly over the sweep; beside them every stage of writing a DONE, the file that makes a run a finished one."""


@pytest.fixture(scope="module")
def sweep() -> list[Config]:
    with Composer() as composer:
        return composer.sweep(OVERRIDES)


def tables_of(outputs: Path) -> dict[str, bytes]:
    """All final tables but the one of wall times, with their digests, and whatever else stands beside them."""
    folder = outputs / "results" / "tables"
    found = {path.name: path.read_bytes() for path in folder.iterdir() if "timing" not in path.name}
    found[SUMS] = b"".join(line for line in found[SUMS].splitlines(keepends=True) if b"timing" not in line)
    return found


def finished_files(outputs: Path) -> dict[Path, tuple[int, int]]:
    """Every file of the finished runs, with what changes if it is written again."""
    folders = [done.parent for done in outputs.glob("runs/*/*/DONE")]
    files = [path for folder in folders for path in folder.iterdir() if path.name not in ("lock", "checkpoint.pt")]
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


class Undisturbed(NamedTuple):
    """The final tables, the number of moments at which the sweep could be killed, and that of its second DONE."""

    tables: dict[str, bytes]
    moments: int
    vouching: int


@pytest.fixture(scope="module")
def undisturbed(sweep: list[Config], tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """The sweep that nobody interrupts."""
    outputs = tmp_path_factory.mktemp("undisturbed")
    log = outputs / "log"
    assert processes.wait(processes.start(processes.train_sweep, sweep, str(outputs), None, str(log))) == 0
    found = json.loads(log.read_text())
    moments, vouching = found["moments"], found["vouching"]
    assert len(vouching) == len(sweep)
    tables = tables_of(outputs)
    names = ("single", "single.activations", "single.histograms", "single.layers", "single.runs")
    assert set(tables) == {SUMS, *(f"{name}.csv" for name in names)}
    assert moments > 4 * KILLS, "the kill points would not all differ"
    return Undisturbed(tables, moments, vouching[1])


@pytest.mark.parametrize("kill", [*range(KILLS), "opened", "half", "whole", "named"])
def test_killed_anywhere_the_sweep_ends_with_the_same_tables(
    kill: int | str, sweep: list[Config], undisturbed: Undisturbed, tmp_path: Path
) -> None:
    expected, moments, vouching = undisturbed
    if isinstance(kill, int):
        # With an offset, so that all stages of a write have their turn.
        at = 1 + (kill * moments) // KILLS + kill % 4
    else:
        at = vouching + ("opened", "half", "whole", "named").index(kill)
    killed = processes.start(processes.train_sweep, sweep, str(tmp_path), min(at, moments))
    assert processes.wait(killed) == -signal.SIGKILL
    before = finished_files(tmp_path)
    assert processes.wait(processes.start(processes.train_sweep, sweep, str(tmp_path))) == 0
    assert tables_of(tmp_path) == expected
    after = finished_files(tmp_path)
    assert {path: after.get(path) for path in before} == before, "a finished run was trained or written again"
    assert not list(tmp_path.rglob(".*.part")), "a half-written file stayed behind"


def test_killed_again_and_again_it_still_ends(sweep: list[Config], undisturbed: Undisturbed, tmp_path: Path) -> None:
    expected, moments, _ = undisturbed
    # Each process finishes one run at most, and so comes a little further than the one before. The tables take moments
    # of their own, so that this is more than a run takes.
    codes, at = [], moments // len(sweep)
    while len(codes) < moments:
        codes.append(processes.wait(processes.start(processes.train_sweep, sweep, str(tmp_path), at)))
        if codes[-1] == 0:
            break
    assert codes[-1] == 0
    assert set(codes[:-1]) == {-signal.SIGKILL}
    assert len(codes) >= 4
    assert tables_of(tmp_path) == expected


def test_two_sweeps_at_once_train_each_run_once(sweep: list[Config], undisturbed: Undisturbed, tmp_path: Path) -> None:
    log = tmp_path / "log"
    pair = [processes.start(processes.train_sweep, sweep, str(tmp_path), None, str(log)) for _ in range(2)]
    assert [processes.wait(process) for process in pair] == [0, 0]
    statuses = [json.loads(line)["statuses"] for line in log.read_text().splitlines()]
    assert len(statuses) == 2
    for name in statuses[0]:
        assert sorted(one[name] for one in statuses) == ["finished", "skipped"]
    assert tables_of(tmp_path) == undisturbed.tables


SMOKE = ("--profile", "smoke", "--experiments", "mnist_training,bias_redundant", "data=digits", "wandb=disabled",
         "model.hidden=[12,8]", "steps=60", "seed=0,1")  # fmt: skip


def test_two_calls_of_reproduce_at_once_make_everything_once(tmp_path: Path, outputs: Path) -> None:
    """Two terminals make the files of one; report and figures, drawn anew at once, are the same again."""
    pair = [
        processes.start(processes.script, "reproduce", list(SMOKE), str(tmp_path), str(tmp_path / f"said-{number}"))
        for number in range(2)
    ]
    assert [processes.wait(process) for process in pair] == [0, 0]
    said = "".join(
        (tmp_path / f"said-{number}.{suffix}").read_text() for number in range(2) for suffix in ("out", "err")
    )
    assert "Traceback" not in said
    runs = finished_files(outputs)
    [tables] = outputs.glob("*/tables")
    made = {path: path.read_bytes() for path in tables.parent.rglob("*") if path.is_file()}
    assert not list(outputs.rglob("*.part"))
    assert processes.call(tmp_path, "reproduce", *SMOKE).code == 0
    assert finished_files(outputs) == runs
    assert {path: path.read_bytes() for path in made} == made
    again = [
        processes.start(processes.script, name, ["--results", str(tables.parent)], str(tmp_path), str(tmp_path / name))
        for name in ("report", "figures")
    ]
    assert [processes.wait(process) for process in again] == [0, 0]
    assert {path: path.read_bytes() for path in made} == made
