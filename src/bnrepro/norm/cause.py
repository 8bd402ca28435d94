"""What went wrong in the code of a normaliser, as one line: file, line, message."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

from hydra.errors import InstantiationException

import bnrepro

NOT_THEIRS = tuple(
    str(Path(folder).resolve())
    for folder in (*map(sysconfig.get_path, ("purelib", "platlib", "stdlib")), Path(bnrepro.__file__).parent)
)
"""Code in these folders is not a user's own: it raises what a user's code has called it with."""


def cause(error: BaseException) -> str:
    """The message of ``error``, after the file and the line of a user's own code that it comes from, if any does."""
    while isinstance(error, InstantiationException) and error.__cause__ is not None:
        error = error.__cause__
        # Hydra repeats in an ImportError of its own what an import raised.
        if str(error).startswith("Error loading ") and error.__cause__ is not None:
            error = error.__cause__
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: {type(error).__name__}: {error.msg}"
    message = (str(error).strip().splitlines() or [""])[0]
    place = _place(error)
    if place is None:
        if isinstance(error, ModuleNotFoundError):  # Python takes a class that is not in its module for a module
            return f"there is no {error.name}"
        return message or type(error).__name__
    kind = type(error).__name__
    return f"{place}: {kind}: {message}" if message else f"{place}: {kind}"


def comes_from_own_code(error: BaseException) -> bool:
    """Whether a user's own code is among what led to ``error``."""
    return _place(error) is not None


def _place(error: BaseException) -> str | None:
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_own(frame.filename)]
    return f"{own[-1].filename}, line {own[-1].lineno}" if own else None


def _is_own(file: str) -> bool:
    # Code without a file has a name such as <string> or <frozen importlib._bootstrap>.
    return not file.startswith("<") and not str(Path(file).resolve()).startswith(NOT_THEIRS)
