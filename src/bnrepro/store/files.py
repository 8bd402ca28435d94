"""Files that are complete or absent: atomic writes, digests, tables as text."""

from __future__ import annotations

import contextlib
import glob
import gzip
import hashlib
import io
import os
import platform
from pathlib import Path

from bnrepro.store.refusals import writing

GZIP_ABOVE_BYTES = 1_000_000


def write_atomic(path: Path, content: bytes | str) -> None:
    """Replace ``path`` by ``content``, completely or not at all, even if the machine stops in between.

    Raises :class:`~bnrepro.errors.StoreError` if the disk refuses it.
    """
    data = content.encode() if isinstance(content, str) else content
    prefix = f".{path.name}.{platform.node()}."
    part = path.with_name(f"{prefix}{os.getpid()}.part")
    with writing(path):
        _remove_parts_of_the_dead(path.parent, prefix)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:  # Ctrl-C as well as a full disk
            with contextlib.suppress(OSError):
                part.unlink()
            raise


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
    with writing(path):
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


def digest(data: bytes) -> str:
    """32 hex digits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


DIGEST_LENGTH = len(digest(b""))
