"""Locks between processes, also on disks that have none."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import SoftFileLock, Timeout

from bnrepro.store.files import digest
from bnrepro.store.paths import outputs_folder
from bnrepro.store.refusals import shown, writing

log = logging.getLogger(__name__)
WAIT_S = 0.5
"""Time between two attempts to take a lock that another process holds."""
UNSUPPORTED = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EBADF)
"""What ``flock`` answers on a disk without locks; EBADF on one that locks no folders."""


class Lock:
    """The lock of a folder: of the file ``lock`` below it or, unless ``inside``, of the folder itself.

    The system releases that of a killed process. Some network disks have no locks. There a file that ends in ``.held``
    says who holds it, since two processes that write one folder could leave a run that does not fit its digests. The
    next call removes the file of a killed process of this machine; that of another machine, which nobody can ask, is
    the user's to remove.
    """

    _told = False
    """Whether this process has said that a disk has no locks."""

    def __init__(self, folder: Path, inside: bool = True) -> None:
        self.folder, self.inside = folder, inside
        self._open = contextlib.ExitStack()
        self._file: int | None = None
        self._soft: SoftFileLock | None = None

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def take(self) -> bool:
        """Take the lock; False if another process holds it. Raises :class:`~bnrepro.errors.StoreError`."""
        with writing(self.folder / "lock" if self.inside else self.folder):
            if self._file is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                if self.inside:
                    self._file = os.open(self.folder / "lock", os.O_WRONLY | os.O_CREAT, 0o666)
                else:
                    self._file = os.open(self.folder, os.O_RDONLY)
                self._open.callback(os.close, self._file)
            if self._soft is not None:
                return self._take_soft(self._soft)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno not in UNSUPPORTED:
                    raise
                self._soft = SoftFileLock(self._held())
                self._tell(error)
                return self._take_soft(self._soft)
        return True

    def release(self) -> None:
        self._open.close()
        self._file = self._soft = None

    def wait(self, taken: Callable[[], bool] | None = None, leads: bool = True) -> None:
        """Take the lock as soon as no other process holds it, and say so if that takes long.

        ``taken`` answers in the place of :meth:`take`, where several processes share the answer.
        """
        told = False
        while not (taken or self.take)():
            if leads and not told:
                log.warning("waiting: another process is working on %s%s", shown(self.folder), self._holder())
            told = True
            time.sleep(WAIT_S)

    def _take_soft(self, lock: SoftFileLock) -> bool:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        self._open.callback(lock.release)
        return True

    def _held(self) -> Path:
        if self.inside:
            return self.folder / "lock.held"
        folder = outputs_folder() / "cache"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{digest(os.fsencode(self.folder))}.held"

    def _holder(self) -> str:
        if self._soft is None:
            return ""
        return f" (if none is, remove {shown(self._held())})"

    def _tell(self, error: OSError) -> None:
        if not Lock._told:
            log.warning(
                "%s is on a disk without locks (%s): files that end in .held take their place",
                shown(self.folder), error.strerror,
            )  # fmt: skip
            Lock._told = True


_mine: set[Path] = set()
"""The folders that this process works on alone."""


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep all other processes out of ``folder`` meanwhile, for files that only make sense together.

    A process that has the folder to itself already goes on at once. Nothing of the lock is seen in the folder.
    """
    place = folder.resolve()
    if place in _mine:
        yield
        return
    with Lock(place, inside=False) as lock:
        lock.wait()
        _mine.add(place)
        try:
            yield
        finally:
            _mine.remove(place)
