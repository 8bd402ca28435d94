"""The life cycle of runs and measurements: skip finished ones, lock the folder, do the work, mark it done."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from bnrepro.store import Files, RunFolder, RunRecord
from bnrepro.training.distributed import ALONE, Group

SKIPPED = "skipped"

Work = Callable[[], tuple[RunRecord, Files]]
"""Produces the contents of a folder: its record, and every other file."""


def complete(folder: RunFolder, work: Work, group: Group = ALONE) -> str:
    """Do ``work`` for ``folder`` unless it is done: returns ``skipped``, or the status of the record.

    Two processes never work on one folder: the second waits, then skips. Only the leader of ``group`` writes.
    """
    if skipped(folder, group):
        return SKIPPED
    with _alone_in(folder, group):
        if skipped(folder, group):
            return SKIPPED
        record, files = work()
        if group.leads:
            folder.finish(record, files)
        return record.status


def skipped(folder: RunFolder, group: Group = ALONE) -> bool:
    """Whether the folder is done; nothing of its making then stays in it."""
    done = group.share(folder.is_done)
    if done and group.leads:
        folder.tidy()
    return done


@contextlib.contextmanager
def _alone_in(folder: RunFolder, group: Group) -> Iterator[None]:
    """Keep all other calls out of the folder.

    The leader locks it, and retries while another process holds the lock: the other processes of the group wait for its
    answer, and would give up if it took long. The system releases the lock if the process is killed.
    """
    with folder.lock() as lock:
        lock.wait(lambda: group.share(lock.take), group.leads)
        if group.leads:
            folder.remove_unfinished_parts()
        yield
