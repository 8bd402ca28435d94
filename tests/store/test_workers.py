"""Processes side by side: every task is done once, in order, and whatever happens to a worker is told."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable

import pytest

from bnrepro.errors import ConfigError
from bnrepro.store import workers
from bnrepro.store.workers import Emit, Event, WorkerDied, side_by_side


def double(task: int, emit: Emit) -> int:
    emit(f"at {task}")
    return 2 * task


class Unpicklable(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def fail(task: str, emit: Emit) -> None:
    if task == "user":
        raise ConfigError("no such key")
    if task == "odd":
        raise Unpicklable("cannot", "travel")
    raise ValueError("broken")


def die(task: int, emit: Emit) -> None:
    os._exit(9)


def sleep(task: int, emit: Emit) -> None:
    emit(os.getpid())
    time.sleep(60)


def of_kind(events: list[Event], kind: str) -> list[tuple[int, object]]:
    return [(event.task, event.value) for event in events if event.kind == kind]


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_every_task_is_done_once_and_its_messages_come_before_its_result(workers: int) -> None:
    events = list(side_by_side(double, [3, 4, 5], workers))
    assert sorted(of_kind(events, "result")) == [(0, 6), (1, 8), (2, 10)]
    for number in range(3):
        own = [event.kind for event in events if event.task == number]
        assert own == ["message", "result"]
    if workers == 1:
        assert of_kind(events, "result") == [(0, 6), (1, 8), (2, 10)]


def test_without_tasks_nothing_starts() -> None:
    assert list(side_by_side(double, [], 2)) == []


def test_an_error_is_told_with_the_workers_own_traceback_and_the_others_go_on() -> None:
    errors = dict(of_kind(list(side_by_side(fail, ["user", "odd", "other"], 1)), "error"))
    user, odd, other = (errors[number] for number in range(3))
    assert isinstance(user, ConfigError)
    assert str(user) == "no such key"
    assert isinstance(odd, RuntimeError)
    assert "Unpicklable: cannot travel" in str(odd)
    assert isinstance(other, ValueError)
    assert "in fail" in other.__notes__[0]


@pytest.mark.spawned
def test_a_worker_that_dies_is_noticed() -> None:
    with pytest.raises(WorkerDied):
        list(side_by_side(die, [1], 1))


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def stop_early(events: object) -> None:
    events.close()  # type: ignore[attr-defined]


def raise_inside(events: object) -> None:
    with pytest.raises(KeyboardInterrupt):
        events.throw(KeyboardInterrupt)  # type: ignore[attr-defined]


@pytest.mark.parametrize("end", [stop_early, raise_inside])
def test_workers_end_with_the_iterator(end: Callable[[object], None]) -> None:
    events = side_by_side(sleep, [1, 2], 2)
    pids: list[int] = []
    while len(pids) < 2:
        event = next(events)
        pids += [event.value] if event.kind == "message" else []
    end(events)
    assert all(gone(pid) for pid in pids)


@pytest.mark.parametrize("ends", ["before a task", "within a task"])
def test_a_worker_whose_parent_is_gone_ends_without_a_word(ends: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_end_with_parent", lambda: None)  # which would end the process of the test
    monkeypatch.setattr(workers.signal, "signal", lambda *_: None)
    ours, theirs = multiprocessing.Pipe()
    if ends == "within a task":
        ours.send((0, 3))

    def orphaned(task: int, emit: Emit) -> int:
        ours.close()
        emit("half-way")
        return task

    if ends == "before a task":
        ours.close()
    workers._work(theirs, orphaned)


def test_tasks_that_are_added_meanwhile_are_done_from_the_left() -> None:
    queue, done = deque([1]), []
    for event in side_by_side(double, queue, 1):
        if event.kind == "result":
            done.append(event.value)
            if event.value == 2:
                queue.extend([3, 4])
                queue.appendleft(5)
    assert done == [2, 10, 6, 8]
    assert not queue


def test_workers_wait_for_tasks_that_are_expected() -> None:
    queue, done, idle = deque([1]), [], 0
    for event in side_by_side(double, queue, 1, lambda: len(done) < 2):
        if event.kind == "result":
            done.append(event.value)
        elif event.kind == "idle" and done:
            idle += 1
            queue.append(7)
    assert done == [2, 14]
    assert idle == 1
