"""What went wrong in a user's own Python code, as one line: file, line, message."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

import bnrepro

NOT_THEIRS = tuple(
    str(Path(folder).resolve())
    for folder in (*map(sysconfig.get_path, ("purelib", "platlib", "stdlib")), Path(bnrepro.__file__).parent)
)
"""Code in these folders is not a user's own: it raises what a user's code has called it with."""


def cause(error: BaseException) -> str:
    """The message of ``error``, after the file and the line of a user's own code that it comes from, if any does."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: {type(error).__name__}: {error.msg}"
    message = (str(error).strip().splitlines() or [""])[0]
    place = _place(error)
    if place is None:
        return message or type(error).__name__
    kind = type(error).__name__
    return f"{place}: {kind}: {message}" if message else f"{place}: {kind}"


def is_in(error: BaseException) -> bool:
    """Whether a user's own code is among what led to ``error``."""
    return _place(error) is not None


def _place(error: BaseException) -> str | None:
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_own(frame.filename)]
    return f"{own[-1].filename}, line {own[-1].lineno}" if own else None


def _is_own(file: str) -> bool:
    # Code without a file has a name such as <string> or <frozen importlib._bootstrap>.
    return not file.startswith("<") and not str(Path(file).resolve()).startswith(NOT_THEIRS)
