"""What went wrong in the code of a normaliser, as one line: file, line, message."""

from __future__ import annotations

from hydra.errors import InstantiationException

from bnrepro import users_code


def cause(error: BaseException) -> str:
    """The message of ``error``, after the file and the line of a user's own code that it comes from, if any does."""
    while isinstance(error, InstantiationException) and error.__cause__ is not None:
        error = error.__cause__
        # Hydra repeats in an ImportError of its own what an import raised.
        if str(error).startswith("Error loading ") and error.__cause__ is not None:
            error = error.__cause__
    if isinstance(error, ModuleNotFoundError) and not users_code.is_in(error):
        return f"there is no {error.name}"  # Python takes a class that is not in its module for a module
    return users_code.cause(error)
