"""A pool of processes, for training and for drawing.

Only the parent handles Ctrl-C, and ends its workers; a worker whose parent dies ends itself.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, Literal

POLL_S = 0.5
"""The parent wakes up at least this often, so that a display can update."""
CONTEXT: Any = multiprocessing.get_context("spawn")
"""A worker is a new interpreter, which shares only the environment with its parent."""

Emit = Callable[[Any], None]
"""Sends a message about a running task to the parent."""


class WorkerDied(Exception):
    """A worker was killed or ran out of memory; its task is unfinished."""


@dataclass(frozen=True)
class Event:
    """A ``message`` from the task of this number, its ``result``, or the ``error`` it raised.

    ``idle`` events have no task: nothing has happened for :data:`POLL_S` seconds.
    """

    kind: Literal["message", "result", "error", "idle"]
    task: int = -1
    value: Any = None


def side_by_side(
    call: Callable[[Any, Emit], Any],
    tasks: Sequence[Any] | deque[Any],
    workers: int,
    expected: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """Call ``call(task, emit)`` for every task, in order, in ``workers`` processes; yields the events.

    ``call``, the tasks and everything sent must be picklable. A caller that gives a deque may change it between two
    events: workers take their tasks from its left end. Tasks are numbered as they are taken. The workers end with the
    iterator: when it is closed, or after the last task, unless further ones are ``expected``. Raises
    :class:`WorkerDied` if a worker is killed.
    """
    left = tasks if isinstance(tasks, deque) else deque(tasks)
    numbers = itertools.count()
    idle: list[Connection] = []
    busy: set[Connection] = set()
    processes: dict[Connection, Any] = {}  # by connection, which must stay open until its worker ends

    def give() -> None:
        while left and (idle or len(processes) < workers):
            connection = idle.pop() if idle else _start(call, processes)
            with contextlib.suppress(ConnectionError):  # the next wait finds a worker that has died
                connection.send((next(numbers), left.popleft()))
            busy.add(connection)

    try:
        give()
        while busy or expected():
            ready = wait(list(busy), timeout=POLL_S)
            if not ready:
                yield Event("idle")
            for connection in ready:
                assert isinstance(connection, Connection)
                try:
                    event: Event = connection.recv()
                except (EOFError, ConnectionError):
                    raise WorkerDied from None
                if event.kind != "message":
                    busy.remove(connection)
                    idle.append(connection)
                    give()
                yield event
            give()
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            process.join()


def _start(call: Callable[[Any, Emit], Any], processes: dict[Connection, Any]) -> Connection:
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=_work, args=(theirs, call), daemon=True)
    with _deaf_to_interrupts():
        process.start()
    theirs.close()
    processes[ours] = process
    return ours


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes that start now never see Ctrl-C, not even while they import; for this one it waits until the end."""
    resource_tracker.ensure_running()  # whose own start would end the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(connection: Connection, call: Callable[[Any, Emit], Any]) -> None:
    """Run in a worker: work on tasks until the parent ends the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # also in the processes that a task starts
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.raiseExceptions = False  # a library's log on a full disk is no message for the user
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    with contextlib.suppress(EOFError, ConnectionError):  # of a parent that was killed
        while True:
            _serve(connection, call)


def _serve(connection: Connection, call: Callable[[Any, Emit], Any]) -> None:
    number, task = connection.recv()
    try:
        result = call(task, lambda value: connection.send(Event("message", number, value)))
        connection.send(Event("result", number, result))
    except Exception as error:
        connection.send(Event("error", number, _portable(error)))


def _portable(error: Exception) -> Exception:
    """An exception as the parent can read it, with the worker's own traceback as a note."""
    error.add_note("In a worker:\n" + traceback.format_exc())
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error, notes = RuntimeError(f"{type(error).__name__}: {error}"), error.__notes__
        error.__notes__ = notes
    return error


def _end_with_parent() -> None:
    """End this worker when its parent dies: a killed parent cannot end its workers."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
