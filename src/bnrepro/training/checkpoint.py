"""The state of a run, saved and restored: a resumed run continues bit for bit as if it had never stopped."""

from __future__ import annotations

import io
import json
import pickle
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from bnrepro.config.schema import Config
from bnrepro.errors import StoreError
from bnrepro.training.distributed import Group
from bnrepro.training.optimizer import SGD


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


class Resumable(Protocol):
    """The part of a :class:`~bnrepro.training.loop.Trainer` that a checkpoint saves and restores."""

    config: Config
    model: nn.Module
    optimizer: SGD
    progress: Progress
    group: Group
    identity: dict[str, Any]

    def skipped_images(self) -> list[str]: ...


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
        "generators": trainer.group.gather(_generators(trainer)),
        "identity": json.dumps(trainer.identity),
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def restore(trainer: Resumable, payload: bytes) -> None:
    """Return ``trainer`` to the state in which :func:`save` was called. Raises :class:`StoreError` for another run."""
    try:
        state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        if json.loads(state["identity"]) != json.loads(json.dumps(trainer.identity)):
            raise ValueError("it belongs to another run")
        trainer.model.load_state_dict(state["model"])
        trainer.optimizer.load_state_dict(state["optimizer"])
        trainer.progress = Progress(**state["progress"])
        cpu, *cuda = state["generators"][trainer.group.rank]
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state(cuda[0])
    except torch.OutOfMemoryError:
        raise  # not the fault of the checkpoint, which would be discarded
    except (RuntimeError, LookupError, TypeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        why = str(error).partition("\n")[0]
        raise StoreError(f"the checkpoint does not fit this configuration: {why}") from error


def _generators(trainer: Resumable) -> list[Tensor]:
    """States of the global generators that this process draws from: those of the CPU and of its GPU."""
    on_cuda = trainer.config.device == "cuda"
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if on_cuda else [])]
