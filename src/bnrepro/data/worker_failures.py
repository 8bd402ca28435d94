"""What the failure of a process that reads images means to the user: too little shared memory, or it was killed."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from bnrepro.errors import UserError

SHARED_MEMORY = Path("/dev/shm")
"""Through which images come from the processes that read them, on Linux."""
DIED = "DataLoader worker (pid"


def from_workers(loader: DataLoader) -> Iterator[Any]:
    """What ``loader`` gives. Raises :class:`UserError` if one of its processes dies or has no room for its images."""
    batches = iter(loader)
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except (RuntimeError, OSError, EOFError) as error:
            reason = _reason(error) if loader.num_workers else None
            if reason is None:
                raise
            raise _explained(reason, loader.num_workers) from error
        yield batch


@contextlib.contextmanager
def explained(workers: int) -> Iterator[None]:
    """Raises :class:`UserError` for one of the ``workers`` that dies while the training works on a mini-batch.

    PyTorch learns of it by a signal, and then raises its error wherever the training is.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith(DIED):
            raise
        raise _explained(str(error), workers) from error


def _reason(error: Exception) -> str | None:
    """What happened to a process that reads images; None for an error of our own code in it."""
    text = str(error).strip()
    if text.startswith(DIED):
        return text
    last = text.splitlines()[-1] if text else type(error).__name__
    first = text.partition("\n")[0]
    if not first.startswith("Caught ") or ("Connection" in first and "in pin memory thread" in first):
        return f"a process that reads images has ended ({last})"
    # From a process, with its traceback: PyTorch names the shared memory, or the file in it, that could not be made.
    return last if "shared memory" in last or "</torch_" in last else None


def _explained(reason: str, workers: int) -> UserError:
    # The other processes end as well, and PyTorch's handler would raise the same error again for each of them, wherever
    # the program then is. Without it, a later loader notices a dead process when it waits for it.
    with contextlib.suppress(ValueError):  # in a thread, which gets no signals
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    return UserError(
        f"data.workers={workers}: {reason.splitlines()[0].split('. ')[0].rstrip('. ')}. Give the processes that read "
        f"images more shared memory ({_free()}; docker run --shm-size=8g) or more memory, or set data.workers=0: the "
        "training process then reads them itself, and the results are the same."
    )


def _free() -> str:
    try:
        found = os.statvfs(SHARED_MEMORY)
    except OSError:
        return f"{SHARED_MEMORY} is missing"
    free, whole = (blocks * found.f_frsize / 1e9 for blocks in (found.f_bavail, found.f_blocks))
    return f"{SHARED_MEMORY} has {free:.1f} of {whole:.1f} GB free"
