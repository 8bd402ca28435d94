"""Many runs on all cores: what is trained, in which order, what is shown, and what happens when one fails."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from bnrepro import store
from bnrepro.config.schema import MODELS, Config
from bnrepro.errors import Interrupted
from bnrepro.runs import display, engine, run
from bnrepro.runs.run import Planned, Report

Sweep = Callable[..., list[Config]]


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), force_terminal=False, width=200)


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.spawned
def test_all_are_trained_and_a_second_call_trains_nothing(sweep: Sweep, console: Console) -> None:
    planned = [run.plan(config) for config in sweep("norm=none,batch", "seed=0,1")]
    outcome = engine.train_all(planned, jobs=2, console=console)
    assert outcome.counts == {"skipped": 0, "finished": 4}
    assert all(item.folder.is_done() for item in planned)
    assert "[4/4]" in text(console)
    assert "4 runs: 0 done, 4 to train" in text(console)
    before = {item.folder.path: (item.folder.path / "DONE").stat().st_mtime_ns for item in planned}
    again = engine.train_all(planned, jobs=2, console=console)
    assert again.counts == {"skipped": 4}
    assert before == {item.folder.path: (item.folder.path / "DONE").stat().st_mtime_ns for item in planned}


def test_one_run_that_cannot_be_trained_does_not_stop_the_others(sweep: Sweep, console: Console) -> None:
    good, bad = (run.plan(config) for config in sweep("batch_size=20,5000"))
    outcome = engine.train_all([bad, good], jobs=1, console=console)
    assert outcome.counts == {"skipped": 0, "finished": 1, "failed": 1}
    assert "batch_size=5000: larger than" in outcome.errors[bad.folder.name]
    assert good.folder.is_done()
    assert not bad.folder.path.exists()


def test_one_run_asked_for_twice_is_trained_once(sweep: Sweep, console: Console) -> None:
    [config] = sweep("seed=0")
    outcome = engine.train_all([run.plan(config), run.plan(config)], jobs=2, console=console)
    assert outcome.counts == {"skipped": 0, "finished": 1}


def test_longer_runs_cost_more(sweep: Sweep) -> None:
    short, long = (run.plan(config) for config in sweep("steps=40,400"))
    small, large = (run.plan(config) for config in sweep("batch_size=20,200"))
    assert display.cost(long) == 10 * display.cost(short)
    assert display.cost(large) > display.cost(small)


def test_display_counts_work_not_runs(sweep: Sweep, console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: now[0])
    short, long = (run.plan(config) for config in sweep("steps=100,900"))
    shown = display.Display(console, [short, long], done=0)
    now[0] = 100.0
    shown.ended(short, "finished")
    assert shown.time_left() == ""  # there may be more runs
    shown.completes()
    # A tenth of the work took 100 s: nine tenths are left.
    assert shown.time_left() == "15 min left"
    shown.report(Report(long.folder.name, 450, 900, {"train/loss": 0.25}, 10.0))
    assert shown.time_left() == f"{100 * 450 / 550:.0f} s left"
    assert "step 450/900  loss 0.2500  10 steps/s" in text(console)


def test_a_report_of_a_run_that_has_ended_is_ignored(sweep: Sweep, console: Console) -> None:
    [item] = [run.plan(config) for config in sweep("seed=0")]
    shown = display.Display(console, [item], done=0)
    shown.ended(item, "finished")
    shown.report(Report(item.folder.name, 1, 40, {}, 1.0))
    assert shown.done == 1
    assert not shown.rows


def _die(planned: Planned, emit: object) -> str:
    import os

    os._exit(9)


def test_a_killed_process_is_reported_and_nothing_finished_is_lost(
    sweep: Sweep, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (run.plan(config) for config in sweep("seed=0,1"))
    run.execute(first)
    monkeypatch.setattr(engine, "_work", _die)
    with pytest.raises(engine.Interrupted, match=r"was killed \(1 of 2 runs done"):
        engine.train_all([first, second], jobs=1, console=console)
    assert first.folder.is_done()
    monkeypatch.undo()
    assert engine.train_all([first, second], jobs=1, console=console).counts["finished"] == 1


def test_every_network_has_keys_of_its_own_and_a_length() -> None:
    """Else its runs would be taken for short ones, and started last."""
    assert {path.stem for path in (store.configs_folder() / "model").glob("*.yaml")} == set(MODELS)
    costs = [MODELS[name].example_cost for name in ("mlp", "inception", "bn_inception")]
    assert costs == sorted(costs)


@pytest.mark.spawned
def test_a_signal_that_a_library_swallowed_stops_the_sweep_all_the_same(
    sweep: Sweep, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = [run.plan(config) for config in sweep("norm=none", "seed=0,1")]
    monkeypatch.setattr("bnrepro.door._asked", [2])
    with pytest.raises(Interrupted, match="0 of 2 runs done"):
        engine.train_all(planned, jobs=1, console=console)
    with pytest.raises(KeyboardInterrupt):
        run.execute(planned[0])
    assert not any(item.folder.is_done() for item in planned)
