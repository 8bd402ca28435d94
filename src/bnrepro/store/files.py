"""Files that are whole or not there: atomic writes, digests, tables as text, locks."""

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
    """Replace ``path`` by ``content``, wholly or not at all, also if the machine stops in between."""
    data = content.encode() if isinstance(content, str) else content
    part = path.with_name(f"{_part_prefix(path)}{os.getpid()}.part")
    _remove_parts_of_the_dead(path)
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
            f"cannot write {path}: {error.strerror}. Nothing finished is lost; make room and run again."
        ) from error


def _part_prefix(path: Path) -> str:
    return f".{path.name}.{platform.node()}."


def _remove_parts_of_the_dead(path: Path) -> None:
    """Drop what processes of this machine that were killed while they wrote ``path`` left beside it."""
    prefix = _part_prefix(path)
    for part in path.parent.glob(f"{glob.escape(prefix)}*.part"):
        with contextlib.suppress(ValueError, OSError):
            try:
                os.kill(int(part.name.removeprefix(prefix).removesuffix(".part")), 0)
            except ProcessLookupError:
                part.unlink()


def write_table(folder: Path, name: str, text: str) -> Path:
    """Write a CSV table, gzipped above 1 MB with nothing of the moment in its header. Returns its path."""
    data = text.encode()
    plain, packed = folder / f"{name}.csv", folder / f"{name}.csv.gz"
    if len(data) > GZIP_ABOVE_BYTES:
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
    for path in (folder / f"{name}.csv", folder / f"{name}.csv.gz"):
        if path.exists():
            return path
    return None


def try_lock(file: IO[str]) -> bool:
    """Hold the run of this lock file, if nobody else does."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


DIGEST_LENGTH = len(digest(b""))
