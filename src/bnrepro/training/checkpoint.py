"""Where a run stands, and that on disk: a resumed run goes on bit for bit as if it had not stopped."""

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
    """Where a run stands: everything that a checkpoint must hold besides the network and the optimiser."""

    step: int = 0
    status: str = "running"
    last_step: int = 0
    seconds: float = 0.0
    pending: list[Tensor] = field(default_factory=list)
    """Losses of the mini-batches since the last evaluation."""
    tables: dict[str, list[str]] = field(default_factory=dict)
    """CSV lines per table, without what identifies the run."""
    unreadable: list[str] = field(default_factory=list)
    """Paths of the images that were passed over."""


class Resumable(Protocol):
    """What a checkpoint holds of a :class:`~bnrepro.training.loop.Trainer`."""

    config: Config
    model: nn.Module
    optimizer: SGD
    progress: Progress
    group: Group
    identity: dict[str, Any]

    def passed_over(self) -> list[str]: ...


def save(trainer: Resumable) -> bytes:
    """Everything that the rest of the run depends on; every process of a group has to ask for it.

    The order of examples needs no state: see ExampleOrder. The running statistics of the other processes are the
    leader's since the evaluation.
    """
    trainer.progress.unreadable = trainer.passed_over()
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
    """Bring ``trainer`` to where :func:`save` was called. Raises :class:`StoreError` if that was another run."""
    try:
        state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        if json.loads(state["identity"]) != json.loads(json.dumps(trainer.identity)):
            raise ValueError("it is another run's")
        trainer.model.load_state_dict(state["model"])
        trainer.optimizer.load_state_dict(state["optimizer"])
        trainer.progress = Progress(**state["progress"])
        cpu, *cuda = state["generators"][trainer.group.rank]
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state(cuda[0])
    except torch.OutOfMemoryError:
        raise  # no fault of the checkpoint, which would be thrown away
    except (RuntimeError, LookupError, TypeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise StoreError(f"the checkpoint does not fit this configuration: {error}") from error


def _generators(trainer: Resumable) -> list[Tensor]:
    """States of the global generators that this process draws from: the CPU's, and its card's."""
    on_cuda = trainer.config.device == "cuda"
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if on_cuda else [])]
