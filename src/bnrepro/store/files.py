"""Files that are complete or absent: atomic writes, digests, tables as text, locks."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import gzip
import hashlib
import io
import os
import platform
from pathlib import Path
from typing import IO

from bnrepro.errors import StoreError

GZIP_ABOVE_BYTES = 1_000_000


def write_atomic(path: Path, content: bytes | str) -> None:
    """Replace ``path`` by ``content``, completely or not at all, even if the machine stops in between.

    Raises :class:`StoreError` if the disk refuses it.
    """
    data = content.encode() if isinstance(content, str) else content
    prefix = f".{path.name}.{platform.node()}."
    part = path.with_name(f"{prefix}{os.getpid()}.part")
    _remove_parts_of_the_dead(path.parent, prefix)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise StoreError(
            f"cannot write {path}: {error.strerror}. No finished work is lost; make room and run again."
        ) from error


def _remove_parts_of_the_dead(folder: Path, prefix: str) -> None:
    """Remove the parts of processes on this machine that were killed while writing; those of living ones stay."""
    for part in folder.glob(f"{glob.escape(prefix)}*.part"):
        with contextlib.suppress(ValueError, OSError):
            try:
                os.kill(int(part.name.removeprefix(prefix).removesuffix(".part")), 0)
            except ProcessLookupError:
                part.unlink()


def write_table(folder: Path, name: str, text: str) -> Path:
    """Write a CSV table, gzipped above 1 MB, if it has changed. Equal texts give equal bytes. Returns its path."""
    data = text.encode()
    plain, packed = folder / f"{name}.csv", folder / f"{name}.csv.gz"
    if len(data) > GZIP_ABOVE_BYTES:
        # The header of gzip.compress depends on the version of Python.
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="wb", filename="", mtime=0, compresslevel=9) as file:
            file.write(data)
        path, other, data = packed, plain, buffer.getvalue()
    else:
        path, other = plain, packed
    if not path.exists() or path.read_bytes() != data:
        write_atomic(path, data)
    other.unlink(missing_ok=True)
    return path


def find_table(folder: Path, name: str) -> Path | None:
    """The path of a CSV table, plain or gzipped; None if there is none."""
    for path in (folder / f"{name}.csv", folder / f"{name}.csv.gz"):
        if path.exists():
            return path
    return None


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
