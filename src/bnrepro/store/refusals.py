"""What a disk refuses, as one line: the path, the reason, and the way forward."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from bnrepro.errors import StoreError

ROOM = "make room and run again"
ELSEWHERE = "allow writing there, or set BNREPRO_OUTPUTS to another folder, and run again"
WAYS_FORWARD = {
    errno.ENOSPC: ROOM,
    errno.EDQUOT: ROOM,
    errno.EROFS: ELSEWHERE,
    errno.EACCES: ELSEWHERE,
    errno.EPERM: ELSEWHERE,
    errno.ENAMETOOLONG: "set BNREPRO_OUTPUTS to a folder with a shorter path, and run again",
}


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an error in writing ``path`` into a :class:`StoreError` of one line."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot write {shown(path)}: {_reason(path, error)}. No finished work is lost; {_way(path, error)}."
        ) from error


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn an error in reading ``path`` into a :class:`StoreError` of one line."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot read {shown(path)}: {_reason(path, error)}") from error


def shown(path: Path) -> str:
    """The path in a message of one line: a name may hold a line break, or bytes that are no text."""
    text = str(path)
    return text if text.isprintable() else repr(text)


def _reason(path: Path, error: OSError) -> str:
    place = _no_folder(path)
    if place is None:
        return error.strerror or str(error)
    if place.is_symlink():
        return f"{shown(place)} is a link to {shown(Path(os.readlink(place)))}, which is no folder"
    return f"{shown(place)} is a file, and a folder belongs there"


def _way(path: Path, error: OSError) -> str:
    if _no_folder(path) is not None:
        return "move it away and run again"
    if path.is_dir() and not path.is_symlink():
        return "move that folder away and run again"
    return WAYS_FORWARD.get(error.errno or 0, "run again once the disk allows it")


def _no_folder(path: Path) -> Path | None:
    """The place above ``path`` where something else stands than a folder; None if there is none."""
    for place in path.parents:
        with contextlib.suppress(OSError):
            if os.path.lexists(place):
                return None if place.is_dir() else place
    return None
