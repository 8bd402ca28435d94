"""Where data are looked for, what lies there, and how a path that cannot be read is named."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

from bnrepro import store
from bnrepro.errors import DataError

NAMED_AT_MOST = 5
"""Entries of a folder that a message names."""


def data_folders() -> list[Path]:
    """The folders to search: $BNREPRO_DATA, where ~ is the home folder, then data/."""
    named = os.environ.get("BNREPRO_DATA")
    return [*([expanded(named)] if named else []), store.data_folder()]


def expanded(path: str) -> Path:
    """``path`` with ~ as the home folder, which a shell leaves as it is within ``key=~/folder``."""
    return Path(os.path.expanduser(path))


def looked_in() -> str:
    """The folders of :func:`data_folders` and what lies in them, to follow "MNIST is"."""
    [*named, own] = data_folders()
    if not named:
        return f"not in {own} ({lies_in(own)}), $BNREPRO_DATA names no other folder"
    return f"neither in $BNREPRO_DATA={named[0]} ({lies_in(named[0])}) nor in {own} ({lies_in(own)})"


def lies_in(folder: Path) -> str:
    """What a folder holds, for a message: ``holds a, b``, ``is empty``, ``does not exist``."""
    try:
        names = sorted(shown(path.name) for path in folder.iterdir())
    except FileNotFoundError:
        return "does not exist"
    except NotADirectoryError:
        return "is a file"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if not names:
        return "is empty"
    more = len(names) - NAMED_AT_MOST
    return f"holds {', '.join(names[:NAMED_AT_MOST])}" + (f" and {more:,} more" if more > 0 else "")


@contextlib.contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Turns an error of the file system into a :class:`DataError` that names ``path``."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{shown(path)} cannot be read ({error.strerror or error})") from error


def speaks() -> bool:
    """Whether this process is the first one of its command, which says what all of them find."""
    return multiprocessing.parent_process() is None and os.environ.get("LOCAL_RANK", "0") == "0"


def shown(path: Path | str) -> str:
    """``path`` on one line of text: a line break in a name, and bytes that are no UTF-8, are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in str(path))
