"""Data sets that come into data/ as a whole or not at all: downloaded, or unpacked from an archive on this disk."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bnrepro import store
from bnrepro.data.places import looked_in
from bnrepro.errors import DataUnavailable

TIMEOUT_S = 20
"""Longest silence of a server."""
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def download(name: str, fetch: Callable[[Path], object], otherwise: str) -> None:
    """Let ``fetch`` download the data set ``name`` into a folder, whose files then move into data/.

    Raises :class:`DataUnavailable`, however it fails, with where the data were looked for and what to do ``otherwise``.
    """
    before, places = socket.getdefaulttimeout(), looked_in()
    socket.setdefaulttimeout(TIMEOUT_S)
    try:
        with staged() as folder:
            fetch(folder)
    except Exception as error:  # servers, proxies and archives fail in more ways than can be listed
        raise DataUnavailable(
            f"{name} is {places}, and could not be downloaded ({_reason(error)}). {otherwise}"
        ) from error
    finally:
        socket.setdefaulttimeout(before)


@contextlib.contextmanager
def staged() -> Iterator[Path]:
    """A folder whose files move into data/ at the end; after an error nothing of it stays."""
    root = store.data_folder()
    missing = not root.exists()
    root.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".incomplete-", dir=root))
    try:
        yield folder
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            target = root / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if missing:
            with contextlib.suppress(OSError):
                root.rmdir()


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    reason = lines[-1] if lines else type(error).__name__
    proxies = [name for name in PROXIES if os.environ.get(name)]
    return f"{reason}; {' and '.join(proxies)} set" if proxies else reason
