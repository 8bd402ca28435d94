"""Tables on disk: CSV texts, gzipped if they are large, beside the digests that vouch for them."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

from bnrepro.errors import StoreError
from bnrepro.store.files import atomic, remove, write_atomic
from bnrepro.store.locks import alone_in

GZIP_ABOVE_BYTES = 1_000_000
QUICKLY_ABOVE_BYTES = 16_000_000
"""Above this size, packing as small as possible takes longer than everything else: 7% are saved in 7 times the time."""
SUMS = "SHA256SUMS"
"""The digests of the tables beside it, as ``sha256sum`` writes and checks them."""
SUFFIXES = (".csv", ".csv.gz")
LINE = re.compile(r"([0-9a-f]{64}) [ *](\S.*)")
WAY_FORWARD = "Restore the tables (git checkout), or run make reproduce, which writes them anew from the finished runs."


def write_tables(folder: Path, owner: str, tables: Mapping[str, Iterable[str]]) -> list[Path]:
    """Write the ``tables`` of an experiment or measurement, remove its others, then write their digests.

    A table (name → CSV text in pieces of any length) is written if it has changed, and gzipped above 1 MB. Equal texts
    give equal bytes. The digests come last: if the process is killed before, the tables are refused until the next
    call. Returns the paths of the tables. Raises :class:`StoreError` if the disk refuses them.
    """
    with alone_in(folder.parent):  # two calls that write one file of digests would lose lines of each other
        paths = [_write(folder, name, pieces) for name, pieces in tables.items()]
        for stale in _present(folder, owner) - {path.name for path in paths}:
            remove(folder / stale)
        before = _sums(folder)
        sums = {name: value for name, value in before.items() if not _belongs(name, owner)}
        sums |= {path.name: _sum(path) for path in paths}
        if sums != before:
            write_atomic(folder / SUMS, "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)))
    return paths


def check_tables(folder: Path) -> dict[str, str]:
    """The digests of the tables in ``folder`` by file name.

    Raises :class:`StoreError` that names a table that is not what was written there.
    """
    listed, present = _sums(folder), _present(folder)
    for name in sorted({*listed, *present}):
        if name not in present:
            reason = f"is missing, though {SUMS} lists it"
        elif name not in listed:
            reason = f"has no digest in {SUMS}"
        elif _sum(folder / name) != listed[name]:
            reason = f"has changed: it does not fit its digest in {SUMS}"
        else:
            continue
        raise StoreError(f"{folder / name} {reason}. {WAY_FORWARD}")
    return listed


def find_table(folder: Path, name: str) -> Path | None:
    """The path of a CSV table, plain or gzipped; None if there is none."""
    for suffix in SUFFIXES:
        path = folder / f"{name}{suffix}"
        if path.exists():
            return path
    return None


def _write(folder: Path, name: str, pieces: Iterable[str]) -> Path:
    pieces, held, size = iter(pieces), list[bytes](), 0
    for piece in pieces:
        held.append(piece.encode())
        size += len(held[-1])
        if size > QUICKLY_ABOVE_BYTES:
            break
    packed = size > GZIP_ABOVE_BYTES
    path, other = (folder / f"{name}{suffix}" for suffix in (SUFFIXES[::-1] if packed else SUFFIXES))
    level = 5 if size > QUICKLY_ABOVE_BYTES else 9
    with (
        atomic(path, unless_equal=True) as file,
        _packing(file, level) if packed else contextlib.nullcontext(file) as to,
    ):
        for data in held:
            to.write(data)
        held.clear()
        for piece in pieces:
            to.write(piece.encode())
    remove(other)
    return path


def _packing(file: IO[bytes], level: int) -> gzip.GzipFile:
    """A gzip stream into ``file`` without a name or time. The header of gzip.compress depends on Python's version."""
    return gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0, compresslevel=level)


def _present(folder: Path, owner: str | None = None) -> set[str]:
    """The names of the tables in ``folder``, all or those of ``owner``."""
    names = {path.name for path in folder.glob("*.csv*") if path.name.endswith(SUFFIXES)}
    return {name for name in names if owner is None or _belongs(name, owner)}


def _belongs(name: str, owner: str) -> bool:
    return name.startswith(f"{owner}.")


def _sums(folder: Path) -> dict[str, str]:
    """The digests by file name; a line that is none is passed over, and its table has no digest then."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StoreError(f"cannot read {folder / SUMS}: {error.strerror}") from error
    return {found[2]: found[1] for line in lines if (found := LINE.fullmatch(line))}


def _sum(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
