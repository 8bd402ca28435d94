"""The state of a run, saved and restored: a resumed run continues bit for bit as if it had never stopped."""

from __future__ import annotations

import io
import json
import pickle
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from bnrepro.errors import StoreError
from bnrepro.probes import Probe


@dataclass
class Progress:
    """The state of a run: everything in a checkpoint besides the network and the optimiser."""

    step: int = 0
    status: str = "running"
    last_step: int = 0
    seconds: float = 0.0
    pending: list[Tensor] = field(default_factory=list)
    """Losses of the mini-batches since the last evaluation."""
    tables: dict[str, list[str]] = field(default_factory=dict)
    """CSV lines by table, without the columns that identify the run."""
    unreadable: list[str] = field(default_factory=list)
    """Paths of the images that were skipped."""

    @property
    def diverged(self) -> bool:
        return self.status == "diverged"


@runtime_checkable
class HasState(Protocol):
    """An optimiser, or a probe with a memory, as far as a checkpoint needs it."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Resumable(Protocol):
    """The part of a :class:`~bnrepro.training.state.RunState` that a checkpoint saves and restores."""

    model: nn.Module
    progress: Progress
    probes: list[Probe]
    identity: dict[str, Any]

    @property
    def optimizer(self) -> HasState: ...

    def skipped_images(self) -> list[str]: ...

    def random_states(self) -> list[list[Tensor]]: ...

    def set_random_states(self, states: list[list[Tensor]]) -> None: ...


def save(trainer: Resumable) -> bytes:
    """Everything that the rest of the run depends on; every process of a group must call this.

    The order of examples needs no state: see ExampleOrder. The running statistics of the other processes equal the
    leader's since the evaluation.
    """
    trainer.progress.unreadable = trainer.skipped_images()
    state: dict[str, Any] = {
        "model": trainer.model.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "progress": trainer.progress.__dict__,
        "probes": [memory.state_dict() for memory in memories(trainer)],
        "generators": trainer.random_states(),
        "identity": json.dumps(trainer.identity),
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def memories(trainer: Resumable) -> list[HasState]:
    """The probes whose rows depend on what they saw before."""
    return [probe for probe in trainer.probes if isinstance(probe, HasState)]


def restore(trainer: Resumable, payload: bytes) -> None:
    """Return ``trainer`` to the state in which :func:`save` was called. Raises :class:`StoreError` for another run."""
    try:
        state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        if json.loads(state["identity"]) != json.loads(json.dumps(trainer.identity)):
            raise ValueError("it belongs to another run")
        trainer.model.load_state_dict(state["model"])
        trainer.optimizer.load_state_dict(state["optimizer"])
        trainer.progress = Progress(**state["progress"])
        for memory, held in zip(memories(trainer), state.get("probes", []), strict=True):
            memory.load_state_dict(held)
        trainer.set_random_states(state["generators"])
    except torch.OutOfMemoryError:
        raise  # not the fault of the checkpoint, which would be discarded
    except (RuntimeError, LookupError, TypeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        why = str(error).partition("\n")[0]
        raise StoreError(f"the checkpoint does not fit this configuration: {why}") from error
