"""The one life of a run and of a measurement: skip what is done, hold the folder, do the work, vouch for it."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import IO

from bnrepro import store
from bnrepro.store import Files, RunFolder, RunRecord
from bnrepro.training.distributed import ALONE, Group

log = logging.getLogger(__name__)
WAIT_S = 0.5
"""Between two looks at a folder that another process holds."""
SKIPPED = "skipped"

Work = Callable[[], tuple[RunRecord, Files]]
"""What fills a folder: its record, and every other file."""


def complete(folder: RunFolder, work: Work, group: Group = ALONE) -> str:
    """Bring ``folder`` to its end: ``skipped`` if it is there already, else the status of the record.

    Two processes never work on one folder: the second waits, then skips. The leader of a ``group`` alone writes.
    """
    if group.share(folder.is_done):
        return SKIPPED
    with _alone_in(folder, group):
        if group.share(folder.is_done):
            return SKIPPED
        record, files = work()
        if group.leads:
            folder.finish(record, files)
        return record.status


@contextlib.contextmanager
def _alone_in(folder: RunFolder, group: Group) -> Iterator[None]:
    """No other call works on the folder meanwhile.

    The leader holds it, and asks for it again and again where another does: the others, which wait for its answer,
    would give up if it took long. The system frees the folder if the process is killed.
    """
    with contextlib.ExitStack() as stack:
        files: list[IO[str]] = []

        def held() -> bool:
            if not files:
                files.append(stack.enter_context(folder.lock_file()))
            return store.try_lock(files[0])

        told = False
        while not group.share(held):
            if group.leads and not told:
                log.info("waiting: another process is working on %s", folder.name)
            told = True
            time.sleep(WAIT_S)
        if group.leads:
            folder.remove_unfinished_parts()
        yield
