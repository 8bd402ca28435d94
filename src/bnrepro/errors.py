"""What can be wrong with a user's input or machine: each error is one message and an exit code, no traceback.

They leave a script by :func:`bnrepro.door.door`.
"""

from __future__ import annotations


class UserError(Exception):
    """Something the user can mend; the message says what and how. Exit code 2."""

    told = False
    """Whether another process of the same training has said it."""


class ConfigError(UserError):
    """A configuration value that is unknown, of the wrong type or out of range."""


class OutOfMemory(ConfigError):
    """A network, or what trains beside it, needs more memory than there is."""


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
