"""Files that are complete or absent: atomic writes and digests."""

from __future__ import annotations

import contextlib
import filecmp
import glob
import hashlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from bnrepro.store.refusals import writing


def write_atomic(path: Path, content: bytes | str) -> None:
    """Replace ``path`` by ``content``, completely or not at all, even if the machine stops in between.

    Raises :class:`~bnrepro.errors.StoreError` if the disk refuses it.
    """
    with atomic(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def atomic(path: Path, unless_equal: bool = False) -> Iterator[IO[bytes]]:
    """A file to write, which replaces ``path`` at the end, completely or not at all.

    With ``unless_equal``, a file of the same content stays as it is. Raises
    :class:`~bnrepro.errors.StoreError` if the disk refuses it.
    """
    prefix = f".{path.name}.{platform.node()}."
    part = path.with_name(f"{prefix}{os.getpid()}.part")
    with writing(path):
        _remove_parts_of_the_dead(path.parent, prefix)
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


def remove(path: Path) -> None:
    """Remove a file, if it is there. Raises :class:`~bnrepro.errors.StoreError` if the disk refuses it."""
    with writing(path):
        path.unlink(missing_ok=True)


def _remove_parts_of_the_dead(folder: Path, prefix: str) -> None:
    """Remove the parts of processes on this machine that were killed while writing; those of living ones stay."""
    for part in folder.glob(f"{glob.escape(prefix)}*.part"):
        with contextlib.suppress(ValueError, OSError):
            try:
                os.kill(int(part.name.removeprefix(prefix).removesuffix(".part")), 0)
            except ProcessLookupError:
                part.unlink()


def digest(data: bytes) -> str:
    """32 hex digits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


DIGEST_LENGTH = len(digest(b""))
