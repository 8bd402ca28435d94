"""Runs that train together: every folder as if it were alone, whatever happens to the others or to the process."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from bnrepro.config.schema import Config
from bnrepro.errors import OutOfMemory, UserError
from bnrepro.runs import engine, run, together
from bnrepro.runs.planned import Planned, Report, plan
from bnrepro.store import RunFolder, locks
from bnrepro.store.workers import Emit

Sweep = Callable[..., list[Config]]


def planned_of(configs: Sequence[Config]) -> list[Planned]:
    return [plan(config, together=True) for config in configs]


def executed(items: Sequence[Planned], watch: together.Watch = lambda report: None) -> dict[str, str | UserError]:
    ended: dict[str, str | UserError] = {}
    together.execute(items, watch, ended.__setitem__)
    return ended


def statuses(items: Sequence[Planned], ended: dict[str, str | UserError]) -> list[str | UserError]:
    return [ended[item.folder.name] for item in items]


def tables_of(item: Planned) -> dict[str, bytes]:
    return {name: text for name, text in item.folder.read()[1].items() if name.endswith(".csv")}


@pytest.fixture
def finishes(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each run's folder was finished."""
    counted: Counter[str] = Counter()
    original = RunFolder.finish

    def finish(self: RunFolder, *given: object) -> None:
        counted[self.name] += 1
        original(self, *given)  # pyright: ignore

    monkeypatch.setattr(RunFolder, "finish", finish)
    return counted


# --------------------------------------------------------------------------------------------- as if alone


def test_every_run_leaves_what_it_leaves_alone(sweep: Sweep) -> None:
    """Runs of different lengths and ends: more of them than places."""
    configs = sweep(
        "precision=float64", "norm=batch", "seed=0,1,2", "steps=40,60", "probes.activations.enabled=true",
        "keep_weights=true",
    )  # fmt: skip
    items = planned_of(configs)
    assert set(executed(items).values()) == {"finished"}
    for item, config in zip(items, configs, strict=True):
        config.fleet.enabled = False
        alone = plan(config)
        assert run.execute(alone) == "finished"
        mine, its = item.folder.read(), alone.folder.read()
        assert mine[1].keys() == its[1].keys() >= {"weights.pt", "config.yaml", "activations.csv"}
        assert tables_of(item) == tables_of(alone)
        assert mine[0].config == its[0].config | {"engine": "fleet-5"}
        assert (mine[0].last_step, mine[0].data, mine[0].fingerprint) == (
            its[0].last_step, its[0].data, its[0].fingerprint,
        )  # fmt: skip


def test_a_run_that_diverges_ends_alone(sweep: Sweep) -> None:
    items = planned_of(sweep("norm=none", "model.activation=relu", "optimizer.lr=0.1,1e30", "seed=0,1"))
    assert sorted(statuses(items, executed(items))) == ["diverged", "diverged", "finished", "finished"]
    lost = next(item for item in items if item.config.optimizer.lr > 1)
    assert lost.folder.read()[0].last_step < 5


def test_progress_is_told_run_by_run(sweep: Sweep) -> None:
    items, told = planned_of(sweep("norm=none", "seed=0,1")), list[Report]()
    executed(items, told.append)
    assert {report.name for report in told} == {item.folder.name for item in items}
    assert {report.step for report in told} == {0, 10, 20, 30, 40}


def test_a_single_run_by_a_fleet_sits_in_a_padded_block(small: Callable[..., Config]) -> None:
    one = plan(small("norm=none", "engine=fleet-3"))
    assert run.execute(one) == "finished"
    assert run.execute(one) == "skipped"
    assert one.folder.read()[0].config["engine"] == "fleet-3"


# ------------------------------------------------------------------------------------------ stops and goes on


def test_a_fleet_that_is_stopped_goes_on_bit_for_bit(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = planned_of(sweep("norm=batch", "seed=0,1,2", "model.dropout=0.2"))
    executed(whole)
    expected = [tables_of(item) for item in whole]
    for item in whole:
        (item.folder.path / "DONE").unlink()
    configs = sweep("norm=batch", "seed=0,1,2", "model.dropout=0.2")
    for config in configs:
        config.checkpoint_every_s = 1e-9
    stopped, written = planned_of(configs), Counter[str]()

    class Stop(Exception):
        pass

    def write(self: RunFolder, payload: bytes, original: Callable = RunFolder.write_checkpoint) -> None:
        original(self, payload)
        written[self.name] += 1
        if written.total() == 5:
            raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_checkpoint", write)
        with pytest.raises(Stop):
            executed(stopped)
    assert all(item.folder.checkpoint.exists() for item in stopped)
    # The second part has other company: one of the runs is missing, and the order is another.
    assert set(executed(stopped[:0:-1]).values()) == {"finished"}
    assert executed(stopped[:1]) == {stopped[0].folder.name: "finished"}
    assert [tables_of(item) for item in stopped] == expected


def test_a_checkpoint_of_another_run_is_set_aside(sweep: Sweep, caplog: pytest.LogCaptureFixture) -> None:
    first, second = planned_of(sweep("norm=none", "seed=0,1"))
    first.folder.write_checkpoint(b"nothing that torch can read")
    assert set(executed([first, second]).values()) == {"finished"}
    assert "starts over" in caplog.text


# ---------------------------------------------------------------------------------------------- in company


def test_a_run_that_another_process_trains_waits_until_the_others_have_ended(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = planned_of(sweep("norm=none", "seed=0,1,2"))
    busy, others = items[0], items[1:]
    holder = busy.folder.lock()
    assert holder.take()

    def sleep(seconds: float) -> None:
        """The other process finishes its run, once nothing is left but to wait for it."""
        assert all(item.folder.is_done() for item in others)
        holder.release()

    monkeypatch.setattr(locks.time, "sleep", sleep)
    assert statuses(items, executed(items)) == ["finished"] * 3


def test_a_run_that_another_process_finishes_first_is_skipped(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    items = planned_of(sweep("norm=none", "seed=0,1"))
    holder = items[0].folder.lock()
    assert holder.take()

    def sleep(seconds: float) -> None:
        record, files = items[1].folder.read()
        items[0].folder.finish(record, files)
        holder.release()

    monkeypatch.setattr(locks.time, "sleep", sleep)
    assert statuses(items, executed(items)) == ["skipped", "finished"]


def test_two_fleets_of_one_sweep_share_its_runs(
    sweep: Sweep, finishes: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    items = planned_of(sweep("norm=batch", "seed=0,1,2,3,4,5", "optimizer.lr=0.1,0.2"))
    wait = threading.Event().wait
    monkeypatch.setattr(locks.time, "sleep", lambda seconds: wait(0.01))
    ended = [dict[str, str | UserError](), dict[str, str | UserError]()]
    orders = (items, items[::-1])
    threads = [
        threading.Thread(target=together.execute, args=(order, lambda report: None, found.__setitem__))
        for order, found in zip(orders, ended, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert set(finishes.values()) == {1}
    assert len(finishes) == 12
    for found in ended:
        assert set(found.values()) <= {"finished", "skipped"}
        assert found.keys() == {item.folder.name for item in items}


def test_what_the_disk_refuses_ends_one_run(sweep: Sweep) -> None:
    items = planned_of(sweep("norm=none", "seed=0,1,2"))
    items[1].folder.path.parent.mkdir(parents=True)
    items[1].folder.path.write_text("a file where the folder should be")
    good, bad, last = statuses(items, executed(items))
    assert (good, last) == ("finished", "finished")
    assert isinstance(bad, UserError)


# ------------------------------------------------------------------------------------------ behind the engine


def test_a_sweep_trains_its_shapes_in_fleets(sweep: Sweep) -> None:
    configs = sweep("norm=none,batch,layer", "seed=0,1,2,3,4")
    planned = engine.plan([(config, "") for config in configs])
    assert engine.train_all(planned, jobs=1).counts == {"skipped": 0, "finished": 15}
    engines = {(item.config.norm["name"], item.folder.read()[0].config.get("engine")) for item in planned}
    assert engines == {("none", "fleet-5"), ("batch", "fleet-5"), ("layer", None)}


@pytest.mark.parametrize(
    ("runs", "workers", "sizes"),
    [
        (1, 2, [1]), (5, 2, [5]), (6, 2, [5, 1]), (10, 2, [5, 5]), (12, 2, [10, 2]), (45, 2, [15, 15, 15]),
        (6, 1, [6]), (50, 1, [20, 20, 10]),
    ],
)  # fmt: skip
def test_a_task_fills_its_block(runs: int, workers: int, sizes: list[int], sweep: Sweep) -> None:
    planned = planned_of(sweep("norm=none", f"seed=range({runs})"))
    found = engine.tasks(planned, workers)
    assert [len(items) for items in found] == sizes
    assert {item.key for items in found for item in items} == {item.key for item in planned}


def _too_large_together(items: list[Planned], emit: Emit) -> None:
    """A worker whose card is full at the first attempt."""
    for item in items:
        marker = item.folder.path.parent / f"{item.folder.name}.tried"
        marker.parent.mkdir(parents=True, exist_ok=True)
        if marker.exists():
            emit((item.folder.name, run.execute(item)))
        else:
            marker.touch()
            emit((item.folder.name, OutOfMemory("CUDA out of memory")))


def test_out_of_memory_means_fewer_at_a_time(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    planned = planned_of(sweep("norm=none,batch", "seed=0,1"))
    monkeypatch.setattr(engine, "_work", _too_large_together)
    assert engine.train_all(planned, jobs=2).counts == {"skipped": 0, "finished": 4}
    assert "out of memory with several processes; 4 runs go on in 1" in caplog.text


def test_what_is_too_large_alone_fails(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = planned_of(sweep("norm=none,batch", "seed=0"))
    monkeypatch.setattr(engine, "_work", _too_large_together)
    outcome = engine.train_all(planned, jobs=1)
    assert outcome.counts == {"skipped": 0, "failed": 2}
    assert set(outcome.errors.values()) == {"CUDA out of memory"}
