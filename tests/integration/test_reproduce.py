"""`make reproduce` as its user meets it: from nothing to verdicts, again, elsewhere, interrupted."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import processes
import pytest
from fabricated import vouch
from rich.console import Console

from bnrepro import data, store, tables
from bnrepro.data import fallback
from bnrepro.errors import ConfigError, DataUnavailable
from bnrepro.pipeline.reproduce import Request, reproduce
from bnrepro.report import drawing

TINY = ("data=digits", "model.hidden=[12,8]", "wandb=disabled")
ONLY = ("mnist_training", "scale_invariance")


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """No figures, which take the longest, in a test that is about something else."""
    monkeypatch.setattr(drawing, "draw", lambda results, only, **how: [])


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_from_nothing_to_verdicts_and_then_nothing_to_do(console: Console, outputs: Path) -> None:
    request = Request("smoke", only=ONLY, overrides=(*TINY, "steps=60"))
    folder = reproduce(request, console)
    assert folder.parent == outputs  # never over results/
    assert "to train" in said(console)
    assert "supported" in said(console)
    made = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for name in ("tables/mnist_training.csv", "tables/scale_invariance.csv", "claims.json", "REPORT.md"):
        assert name in made
    assert "figures/mnist_training_accuracy.png" in made
    again = Console(file=io.StringIO(), width=200)
    assert reproduce(request, again) == folder
    assert "to train" not in said(again)
    assert "measuring" not in said(again)
    assert made == {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_without_training_it_takes_what_is_there(console: Console, undrawn: None) -> None:
    sweep = ("affine",)
    reproduce(Request("smoke", only=sweep, overrides=(*TINY, "steps=60", "seed=0,1")), console)
    # Wider than what was run: the runs are those of the call above, the rest is left out and counted.
    wider = Request(
        "smoke",
        only=sweep,
        overrides=(*TINY, "steps=60", "seed=0,1,2", "norm=batch,batch_no_affine,group"),
        train=False,
    )
    again = Console(file=io.StringIO(), width=200)
    folder = reproduce(wider, again)
    assert "9 runs: 5 are not there" in said(again)
    assert json.loads((folder / "claims.json").read_text())["affine_needed"]["n"] == 2


def test_tables_are_not_taken_away_where_their_runs_are_not(console: Console, outputs: Path, undrawn: None) -> None:
    only, overrides = ("mnist_training", "transfer", "scale_invariance"), (*TINY, "steps=60", "seed=0,1")
    folder = reproduce(Request("smoke", only=only, overrides=overrides), console)
    made = {path.name: path.read_bytes() for path in (folder / "tables").iterdir()}
    judged = (folder / "claims.json").read_text()
    [lost] = (outputs / "runs" / "mnist_training").glob("batch-s1-*")
    # One of the runs, then every run: as in a fresh clone with its tables.
    for gone, told in (
        (lost, "transfer has not been measured here, and is left as it is"),
        (outputs / "runs", "transfer is left as it is: transfer needs trained networks of"),
    ):
        shutil.rmtree(gone)
        again = Console(file=io.StringIO(), width=200)
        assert reproduce(Request("smoke", only=only, overrides=overrides, train=False), again) == folder
        assert "mnist_training: its tables stay as they are" in said(again)
        assert told in said(again)
        assert made == {path.name: path.read_bytes() for path in (folder / "tables").iterdir()}
        assert (folder / "claims.json").read_text() == judged
        assert ("scale_invariance has not been measured here" in said(again)) == (gone != lost)


def test_runs_in_tables_that_are_asked_for_no_more_hold_nothing_up(
    console: Console, outputs: Path, undrawn: None
) -> None:
    request = Request("smoke", only=("mnist_training",), overrides=(*TINY, "steps=60", "seed=0"))
    folder = reproduce(request, console)
    made = {path: path.read_text() for path in (folder / "tables").glob("*.csv")}
    for path, text in made.items():
        path.write_text(re.sub(r"batch-s0-(\w+),mnist_training,batch,0,", r"batch-s9-\1,mnist_training,batch,9,", text))
    vouch(folder)
    [asked_for] = (outputs / "runs" / "mnist_training").glob("none-s0-*")
    elsewhere = asked_for.rename(outputs / asked_for.name)
    request = replace(request, train=False)
    reproduce(request, console)
    assert all("batch-s9-" in path.read_text() for path in made)
    elsewhere.rename(asked_for)
    reproduce(request, console)
    assert made == {path: path.read_text() for path in made}


def test_without_data_it_says_so_and_goes_on_with_the_digits(
    console: Console, monkeypatch: pytest.MonkeyPatch, outputs: Path, undrawn: None
) -> None:
    load = data.load

    def only_digits(config: data.DataConfig) -> data.Dataset:
        if config.name == "mnist":
            raise DataUnavailable("MNIST is nowhere")
        return load(config)

    monkeypatch.setattr(fallback, "open_dataset", only_digits)
    request = Request("smoke", only=("mnist_training",), overrides=("model.hidden=[8]", "steps=30", "wandb=disabled"))
    folder = reproduce(request, console)
    assert "digits" in folder.name
    assert "MNIST is nowhere" in said(console)
    assert "1,797 bundled UCI digits" in said(console)
    assert "UCI digits" in (folder / "REPORT.md").read_text()


def test_a_measurement_finds_networks_whose_data_were_stood_in_for(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = data.load

    def only_digits(config: data.sets.DataConfig) -> data.Dataset:
        if config.name != "digits":
            raise DataUnavailable(f"{config.name} is nowhere")
        return load(config)

    monkeypatch.setattr(fallback, "open_dataset", only_digits)
    small = ("model.stem=4", "model.units=[1,2]", "model.blocks=[1,1]", "wandb=disabled", "steps=20")
    only = ("ensemble_members", "ensemble")
    folder = reproduce(Request("smoke", only=only, overrides=small, jobs=1), console)
    assert "digits" in folder.name
    assert json.loads((folder / "claims.json").read_text())["ensemble"]["verdict"] != "not run"
    assert "## Fig. 4: the ensemble" in (folder / "REPORT.md").read_text()
    assert (folder / "figures" / "ensemble_accuracy.png").exists()
    measured = tables.read_measurement("ensemble", folder)
    assert measured is not None
    assert "UCI digits" in measured.meta["data"]
    assert sum(measured.frame["kind"] == "member") == 2
    # Alone as well, and then neither the networks are trained nor their runs published again.
    alone = Console(file=io.StringIO(), width=200)
    assert reproduce(Request("smoke", only=only[1:], overrides=small, jobs=1), alone) == folder
    assert "UCI digits" in said(alone)
    assert "to train" not in said(alone)
    assert "measuring" not in said(alone)


def test_full_results_on_other_data_never_go_where_the_committed_ones_lie() -> None:
    committed = store.results_folder("full")
    for others in (("quick",), ("smoke",), ("full", "group"), ("full", "batch", "digits"), ("full", "batch+steps-3")):
        assert store.results_folder(*others) != committed


def test_an_unknown_experiment_is_refused_with_the_known_ones(console: Console) -> None:
    with pytest.raises(ConfigError, match=r"choose from .*mnist_training"):
        reproduce(Request("smoke", only=("imagenet",)), console)


SWEEP = (*TINY, "seed=0", "steps=4000")


def _at_a_terminal() -> None:
    """What is started in the background ignores Ctrl-C, and so would its children: this one does not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Interpreter:
    """`make reproduce` as its user calls it."""

    def __init__(self, arguments: list[str], folder: Path) -> None:
        command = [sys.executable, str(processes.SCRIPTS / "reproduce.py"), *arguments]
        with (folder / "said.err").open("w") as said:
            self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said, preexec_fn=_at_a_terminal)
        self.pid, self.kill, self.is_alive = self.process.pid, self.process.kill, lambda: self.process.poll() is None

    def wait(self) -> int:
        return self.process.wait(processes.TIMEOUT_S)


class Forked:
    """The same sooner; its worker is an interpreter of its own all the same."""

    def __init__(self, arguments: list[str], folder: Path) -> None:
        self.process = processes.start(processes.script, "reproduce", arguments, str(folder), str(folder / "said"))
        self.pid, self.kill, self.is_alive = self.process.pid, self.process.kill, self.process.is_alive

    def wait(self) -> int:
        return processes.wait(self.process)


@pytest.mark.parametrize(
    ("how", "begun"), [(signal.SIGINT, Interpreter), (signal.SIGTERM, Forked), (signal.SIGKILL, Forked)]
)
def test_a_stopped_sweep_leaves_no_process_behind_and_can_go_on(
    how: signal.Signals,
    begun: type[Interpreter | Forked],
    tmp_path: Path,
    outputs: Path,
    console: Console,
    undrawn: None,
) -> None:
    once = ["--profile", "smoke", "--jobs", "1", "--experiments", "mnist_training"]
    sweep = begun([*once, *SWEEP, "checkpoint_every_s=0.05"], tmp_path)
    try:
        deadline = time.monotonic() + 120
        while not list(outputs.glob("runs/mnist_training/*/checkpoint.pt")):
            assert sweep.is_alive(), (tmp_path / "said.err").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(sweep.pid, how)
        code = sweep.wait()
    finally:
        sweep.kill()
    errors = (tmp_path / "said.err").read_text()
    if how == signal.SIGKILL:
        assert code == -how
    else:
        assert code == 130
        assert "the same call goes on from here" in errors
        assert "Traceback" not in errors
    # A worker that lived on would hold the lock of its run.
    reproduce(Request("smoke", only=("mnist_training",), overrides=SWEEP, jobs=1), console)
    assert len(list(outputs.glob("runs/mnist_training/*/DONE"))) == 2
    assert all((path / "DONE").exists() for path in outputs.glob("runs/mnist_training/*"))
    assert not list(outputs.glob("runs/mnist_training/*/checkpoint.pt"))
