"""How many processes train one network: what `torchrun` says in the environment, and nobody else.

A cluster may set the same variables for programs of its own; without torchrun a process trains alone.
"""

from __future__ import annotations

import functools
import logging
import os

from bnrepro.errors import ConfigError

log = logging.getLogger(__name__)
MARK = "TORCHELASTIC_RUN_ID"
"""Set by torchrun alone."""


def started() -> int:
    """How many processes torchrun started, this one included; 1 without it. Raises :class:`ConfigError`."""
    if MARK not in os.environ:
        return 1
    world, rank, local = (_number(name) for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"))
    if world < 1 or rank >= world or local >= world:
        raise _wrong(f"RANK={rank} and LOCAL_RANK={local} are no places among WORLD_SIZE={world} processes")
    for name in ("MASTER_ADDR", "MASTER_PORT") if world > 1 else ():
        if not os.environ.get(name):
            raise _wrong(f"{name} is not set")
    return world


def processes() -> int:
    """:func:`started`, for the configuration; warns once if the environment describes a group
    that torchrun did not start."""
    world = os.environ.get("WORLD_SIZE", "")
    if MARK not in os.environ and world not in ("", "1"):
        _say(f"WORLD_SIZE={world!r} was not set by torchrun and does not count: this process trains alone")
    return started()


def leads() -> bool:
    """Whether this process speaks to the user, among those of all machines."""
    return MARK not in os.environ or os.environ.get("RANK") == "0"


def leads_here() -> bool:
    """Whether this process speaks to the user, among those of its machine."""
    return MARK not in os.environ or os.environ.get("LOCAL_RANK", "0") == "0"


def _number(name: str) -> int:
    text = os.environ.get(name, "")
    if not text.isdecimal():
        raise _wrong(f"{name}={text!r} is no number" if text else f"{name} is not set")
    return int(text)


def _wrong(what: str) -> ConfigError:
    return ConfigError(f"{what}, though {MARK} says that torchrun started this process: unset {MARK} to train alone")


@functools.cache
def _say(text: str) -> None:
    log.warning(text)
