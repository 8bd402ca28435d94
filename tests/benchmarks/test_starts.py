"""The rows that time whole processes, and what W&B costs: they measure work that is done, or nothing at all. No test
asserts a time."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import processes
import pytest

from benchmarks.registry import Bench, Bound  # isort: skip
from benchmarks import overheads, runner, starts, subjects
from rich.console import Console

from bnrepro import store
from bnrepro.training import tracking


def measured(name: str, rounds: int = 1) -> runner.Benchmark:
    return runner.measure(runner.chosen([name]), rounds, quick=True, console=Console(file=io.StringIO()))


# -------------------------------------------------------------------------------------------- whole processes


@pytest.fixture
def sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the processes that are called, all but a training run are forked instead of being started anew."""
    anew = subjects.call

    def call(command: Sequence[str], code: int = 0) -> str:
        interpreter, script, *arguments = command
        assert interpreter == sys.executable
        if "wandb=disabled" in arguments:
            return anew(command, code)
        if script == "-c":
            assert processes.wait(processes.start(exec, *arguments)) == code
            return ""
        said = processes.call(store.REPOSITORY, Path(script).stem, *arguments)
        assert said.code == code, said.err
        return said.out

    monkeypatch.setattr(subjects, "call", call)


def test_starts_are_whole_processes_that_leave_nothing_in_the_user_s_outputs(
    tmp_path: Path, outputs: Path, sooner: None
) -> None:
    benchmark = measured("start")
    runner.write(benchmark, tmp_path / "benchmark.json")
    lines = json.loads((tmp_path / "benchmark.json").read_text(encoding="utf-8"))["rows"]
    bounds = {"wandb=disabled": 2, "wandb=offline": 3, "--help": 2, "--cfg job": 2, "optimizer.lrr=1": 2}
    assert {line["arm"]: line["bound"]["value"] for line in lines} == bounds
    for line in lines:
        assert (line["row"], line["unit"], line["bound"]["kind"]) == ("start", "s", "most")
        assert len(line["rounds"]) == 1
        assert isinstance(line["met"], bool)
    for line in lines[:2]:
        [whole], [torch_alone] = line["details"]["process_seconds"], line["details"]["import_torch_seconds"]
        assert line["value"] == pytest.approx(whole - torch_alone)
    assert not outputs.exists()


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What is called instead of being started; it trains nothing."""
    commands: list[list[str]] = []

    def call(command: Sequence[str], code: int = 0) -> str:
        commands.append(list(command[1:]))
        return ""

    monkeypatch.setattr(subjects, "call", call)
    return commands


def test_a_sweep_that_trains_nothing_is_no_measurement(called: list[list[str]]) -> None:
    [result] = measured("short-runs").results
    assert "0 of 1 runs are finished" in result.failed
    assert called == [
        ["scripts/train.py", "-m", "data=digits", "steps=20", "hydra.launcher.n_jobs=1", "wandb=disabled", "seed=0"]
    ]


def test_a_further_run_is_what_a_sweep_takes_longer_for_it(
    called: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subjects, "require", lambda outputs, runs, views: None)
    [result] = measured("short-runs", rounds=2).results
    assert [(found.arm, found.bound) for found in result.measured] == [
        ("wandb=disabled", Bound("most", 0.15)),
        ("wandb=offline", Bound("most", 0.5)),
    ]
    # Twenty runs take 5.8 s, one takes 2 s; the second round is on a machine half as fast.
    assert starts.beyond_training([5.8, 11.6], [2.0, 4.0], [0.05, 0.1], 19) == pytest.approx([0.15, 0.3])
    one, many = called[:2]
    assert [command[-1] for command in (one, many)] == ["seed=0", "seed=range(3)"]
    assert one[:-1] == many[:-1]


def test_processes_take_turns(tmp_path: Path) -> None:
    begun: list[str] = []
    workloads = {name: lambda name=name: begun.append(name) for name in "abc"}
    starts.in_turn(workloads, Bench(rounds=2, quick=False, folder=tmp_path))
    assert "".join(begun) == "abc" + "abc" + "cba"


def test_another_exit_code_than_the_one_that_is_due_is_an_error() -> None:
    quits = [sys.executable, "-c", "import sys; print('too late'); sys.exit(3)"]
    assert subjects.call(quits, code=3) == "too late\n"
    with pytest.raises(RuntimeError, match=r"left with 3 instead of 0: too late"):
        subjects.call(quits)


# ---------------------------------------------------------------------------------------------------- logging


def test_a_view_that_breaks_off_is_no_measurement_of_one() -> None:
    def warned() -> None:
        with overheads._whole_views():
            tracking.log.warning("W&B does not answer")

    with pytest.raises(RuntimeError, match="W&B does not answer"):
        warned()
    with overheads._whole_views():
        pass


def test_logging_costs_what_a_stretch_takes_longer_with_the_view(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subjects, "has_mnist", lambda: False)
    monkeypatch.setattr(overheads, "_first_start", lambda folder: 1.0)
    [result] = measured("logging").results
    assert [each.arm for each in result.measured] == ["none", "batch", "batch"]
    for share in result.measured[:2]:
        stretch, [whole] = share.details["stretch_seconds"], share.details["whole_seconds"]
        [offline], [disabled] = stretch["offline"], stretch["disabled"]
        assert share.value == pytest.approx(100 * (offline - disabled) / whole)
