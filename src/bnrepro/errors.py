"""What can be wrong with a user's input or machine: each error is one message and an exit code, no traceback.

:func:`door` is where every script enters, and where these errors leave.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import NoReturn


class UserError(Exception):
    """Something the user can mend; the message says what and how. Exit code 2."""

    told = False
    """Whether another process of the same training has said it."""


class ConfigError(UserError):
    """A configuration value that is unknown, of the wrong type or out of range."""


class DataError(UserError):
    """Data files that are present but wrong: truncated, altered, unreadable."""


class DataUnavailable(UserError):
    """A data set that is not in the data folder and cannot be downloaded."""


class StoreError(UserError):
    """A run or a table on disk that is not what was written there."""


class NetworksMissing(UserError):
    """A measurement works on trained networks, and there are none."""


class Interrupted(UserError):
    """The work was stopped on request; what is finished is kept and the next call goes on."""


def door(main: Callable[[], None]) -> NoReturn:
    """Run a script's ``main`` and leave with its exit code: 0; 2 for what the user can mend; 130 for Ctrl-C.

    A script imports what it works with inside ``main``, so that Ctrl-C ends it with one line at any moment. A character
    that the terminal's encoding lacks is replaced; a reader that closes the pipe ends the script quietly.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:
        # What is left in the buffer must not be written at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except UserError as error:
        leave(error)
    except KeyboardInterrupt:
        leave(Interrupted("stopped; the same call goes on from here"))
    sys.exit(0)


def leave(error: UserError) -> NoReturn:
    """Say what is wrong, unless another process does, and end with its exit code."""
    stopped = isinstance(error, Interrupted)
    if not error.told:
        print(error if stopped else f"error: {error}", file=sys.stderr, flush=True)
    sys.exit(130 if stopped else 2)
