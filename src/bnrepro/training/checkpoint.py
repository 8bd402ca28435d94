"""An unfinished run taken up by another number of processes: the same weights, not the same bits."""

from __future__ import annotations

import io
import json
import logging
import pickle
from typing import Any

import torch

from bnrepro import store
from bnrepro.config.identity import identity
from bnrepro.config.schema import Config, traceless_defaults
from bnrepro.errors import ConfigError, StoreError
from bnrepro.store import flatten
from bnrepro.training.loop import Trainer

log = logging.getLogger(__name__)
MAY_DIFFER = ("processes", "sync_batch_norm", "device", "precision", "threads", "continue_from")
ARITHMETIC = ("device", "precision", "threads")
NAMES = {"data": "its data", "source": "the source of its normaliser", "epoch": "the code that trained it"}


def checkpoint_of(config: Config, fingerprint: str) -> bytes:
    """The last checkpoint of the run that ``config.continue_from`` names, for a run that differs from it in
    ``MAY_DIFFER`` alone; says what is then not bit-exact.

    ``fingerprint`` is that of the data. Raises :class:`ConfigError` if there is no such unfinished run, if it is of
    another kind, or if its checkpoint is damaged.
    """
    name = config.continue_from
    assert name is not None
    folder = store.run_named(config.experiment, name)
    try:
        payload = folder.read_checkpoint()
        if payload is None:
            state = "is finished" if folder.is_done() else "is not there, or has no checkpoint yet"
            raise ConfigError(f"continue_from={name}: {folder.path} {state}")
        found = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        theirs, step, processes = json.loads(found["identity"]), found["progress"]["step"], len(found["generators"])
        before, now = _flat(theirs), _flat(identity(config, fingerprint))
    except (RuntimeError, LookupError, TypeError, ValueError, EOFError, pickle.UnpicklingError, StoreError) as error:
        raise ConfigError(f"continue_from={name}: its checkpoint cannot be read ({error})") from error
    silent = traceless_defaults()
    pairs = {key: tuple(found.get(key, silent.get(key)) for found in (before, now)) for key in {*before, *now}}
    changed = {key: (was, is_) for key, (was, is_) in sorted(pairs.items()) if was != is_}
    if odd := [NAMES.get(key, key) for key in changed if key not in MAY_DIFFER]:
        raise ConfigError(f"continue_from={name}: that run differs in {', '.join(odd)}")
    log.info("%s", statement(name, step, processes, changed, config))
    return payload


def take_up(trainer: Trainer, payload: bytes) -> None:
    """Bring ``trainer`` to where the checkpoint of the other run stands. Raises :class:`ConfigError` if it cannot: a
    run that was to be continued never starts over."""
    try:
        trainer.restore(payload)
    except StoreError as error:
        raise ConfigError(f"continue_from={trainer.config.continue_from}: {error}") from error


def _flat(found: dict[str, Any]) -> dict[str, Any]:
    return flatten(found["config"]) | {key: found[key] for key in NAMES}


def statement(name: str, step: int, before: int, changed: dict[str, tuple[Any, Any]], config: Config) -> str:
    """What is the same and what is not, once ``config`` goes on at ``step`` where ``before`` processes stopped.

    ``changed`` maps each key that is another to its old and its new value.
    """
    size, now = config.batch_size, config.processes
    told = {key: pair for key, pair in changed.items() if key not in ("processes", "continue_from")}
    if before != now:
        told = {"processes": (before, now)} | told
    odd = []
    if before != now:
        odd.append("gradients are means over other parts")
    together, now_together = changed.get("sync_batch_norm", (config.sync_batch_norm, config.sync_batch_norm))
    saw, sees = size if together else size // before, size if now_together else size // now
    if saw != sees:
        odd.append(f"a norm over the mini-batch sees {sees} examples, not {saw}")
    if changed.keys() & set(ARITHMETIC):
        odd.append("the arithmetic is another's")
    if before != now or "device" in changed:
        odd.append("layers that draw, such as dropout, draw afresh")
    return (
        f"continues {name} at step {step} with "
        + (", ".join(f"{key}={value} instead of {old}" for key, (old, value) in told.items()) or "nothing changed")
        + ". The same: weights, momentum, running statistics, the examples of every mini-batch and their crops. "
        + (f"Not bit-exact from here on: {'; '.join(odd)}." if odd else "Nothing else is another: bit for bit.")
    )
