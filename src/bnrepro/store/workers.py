"""Processes that work side by side: one pool, for training and for drawing.

Ctrl-C reaches the parent alone, which ends its workers; a worker whose parent dies ends itself.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Literal

POLL_S = 0.5
"""The parent looks up at least this often, so that a display can move on."""
CONTEXT: Any = multiprocessing.get_context("spawn")
"""How a worker starts: as an interpreter of its own, which has nothing of its parent but the environment."""

Emit = Callable[[Any], None]
"""Sends a message about a task under way to the parent."""


class WorkerDied(Exception):
    """A worker was killed, or ran out of memory; its task is unfinished."""


@dataclass(frozen=True)
class Event:
    """What happened to the task of this number: a ``message`` from it, its ``result``, or the ``error`` that it raised.
    ``idle`` events have no task; they come where nothing else does."""

    kind: Literal["message", "result", "error", "idle"]
    task: int = -1
    value: Any = None


def side_by_side(call: Callable[[Any, Emit], Any], tasks: Sequence[Any], workers: int) -> Iterator[Event]:
    """Call ``call(task, emit)`` for every task, in order, in ``workers`` processes; yields what happens.

    ``call``, the tasks and all that is sent must be picklable. The workers end with the iterator: once all tasks are
    done, or when it is closed. Raises :class:`WorkerDied`.
    """
    left = list(enumerate(tasks))[::-1]
    busy: dict[Connection, int] = {}
    processes: dict[Connection, Any] = {}
    try:
        for _ in range(min(workers, len(tasks))):
            ours, theirs = CONTEXT.Pipe()
            process = CONTEXT.Process(target=_work, args=(theirs, call), daemon=True)
            process.start()
            theirs.close()
            processes[ours] = process
            _give(ours, left, busy)
        while busy:
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
                    del busy[connection]
                    _give(connection, left, busy)
                yield event
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            process.join()


def _give(connection: Connection, left: list[tuple[int, Any]], busy: dict[Connection, int]) -> None:
    if left:
        number, task = left.pop()
        with contextlib.suppress(ConnectionError):  # a worker that has died is found by the next wait
            connection.send((number, task))
        busy[connection] = number


def _work(connection: Connection, call: Callable[[Any, Emit], Any]) -> None:
    """The life of a worker: tasks until it is ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    while True:
        number, task = connection.recv()
        try:
            result = call(task, lambda value, number=number: connection.send(Event("message", number, value)))
            connection.send(Event("result", number, result))
        except Exception as error:
            connection.send(Event("error", number, error))


def _end_with_parent() -> None:
    """A killed parent cannot end its workers: they end themselves, as safely as by a kill of their own."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
