"""An unfinished run taken up by another number of processes: the same weights, not the same bits."""

from __future__ import annotations

import io
import json
import logging
import pickle
from typing import Any

import torch

from bnrepro import store
from bnrepro.config import flatten, scientific
from bnrepro.errors import ConfigError, StoreError
from bnrepro.schema import Config

log = logging.getLogger(__name__)
MAY_DIFFER = ("processes", "sync_batch_norm", "device", "precision", "threads", "continue_from")


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
    except (RuntimeError, LookupError, TypeError, ValueError, EOFError, pickle.UnpicklingError, StoreError) as error:
        raise ConfigError(f"continue_from={name}: its checkpoint cannot be read ({error})") from error
    ours = {"fingerprint": fingerprint, **scientific(config)}
    odd = sorted(_differences(flatten(theirs), flatten(ours)))
    if odd:
        raise ConfigError(f"continue_from={name}: that run is another in {', '.join(odd)}")
    log.info("%s", statement(name, step, processes, config))
    return payload


def _differences(theirs: dict[str, Any], ours: dict[str, Any]) -> set[str]:
    missing = object()
    return {
        key
        for key in theirs.keys() | ours.keys()
        if key not in MAY_DIFFER and theirs.get(key, missing) != ours.get(key, missing)
    }


def statement(name: str, step: int, before: int, config: Config) -> str:
    """What is the same and what is not, once ``config`` goes on where ``before`` processes stopped."""
    size, now = config.batch_size, config.processes
    own = (
        ""
        if config.sync_batch_norm
        else f" a norm over the mini-batch sees {size // now} examples, not {size // before};"
    )
    return (
        f"continues {name} at step {step} with processes={now} instead of {before}. The same: weights, momentum, "
        "running statistics, the examples of every mini-batch and their crops. Not bit-exact from here on: gradients "
        f"are means over other parts;{own} layers that draw, such as dropout, draw afresh."
    )
