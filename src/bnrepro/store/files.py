"""Files that are complete or absent: atomic writes, digests, locks."""

from __future__ import annotations

import contextlib
import fcntl
import filecmp
import glob
import hashlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from bnrepro.errors import StoreError


def write_atomic(path: Path, content: bytes | str) -> None:
    """Replace ``path`` by ``content``, completely or not at all, even if the machine stops in between.

    Raises :class:`StoreError` if the disk refuses it.
    """
    with atomic(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def atomic(path: Path, unless_equal: bool = False) -> Iterator[IO[bytes]]:
    """A file to write, which replaces ``path`` at the end, completely or not at all.

    With ``unless_equal``, a file of the same content stays as it is. Raises :class:`StoreError` if the disk refuses it.
    """
    prefix = f".{path.name}.{platform.node()}."
    part = path.with_name(f"{prefix}{os.getpid()}.part")
    _remove_parts_of_the_dead(path.parent, prefix)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if unless_equal and path.exists() and filecmp.cmp(part, path, shallow=False):
                part.unlink()
            else:
                part.replace(path)
        except BaseException:  # Ctrl-C as well as a full disk
            with contextlib.suppress(OSError):
                part.unlink()
            raise
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror}. No finished work is lost; make room and run again."
        ) from error


def remove(path: Path) -> None:
    """Remove a file, if it is there. Raises :class:`StoreError` if the disk refuses it."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"cannot remove {path}: {error.strerror}") from error


def _remove_parts_of_the_dead(folder: Path, prefix: str) -> None:
    """Remove the parts of processes on this machine that were killed while writing; those of living ones stay."""
    for part in folder.glob(f"{glob.escape(prefix)}*.part"):
        with contextlib.suppress(ValueError, OSError):
            try:
                os.kill(int(part.name.removeprefix(prefix).removesuffix(".part")), 0)
            except ProcessLookupError:
                part.unlink()


def try_lock(file: IO[str]) -> bool:
    """Lock this file until it is closed. False if another process holds the lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def digest(data: bytes) -> str:
    """32 hex digits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


DIGEST_LENGTH = len(digest(b""))
