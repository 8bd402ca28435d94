"""The interface of all probes, and the guards that keep them from changing the network they look at."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn


@dataclass
class Observation:
    """What a probe saw at one step: CSV lines by table, histograms (counts, bin edges) and single numbers by name.

    The results come from the lines alone; histograms and numbers are for live views.
    """

    rows: dict[str, list[str]] = field(default_factory=dict)
    histograms: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)


class Probe(Protocol):
    """``headers`` names the columns of each table; ``steps`` are the steps at which training calls ``observe``.

    A probe whose rows depend on what it saw before also has ``state_dict`` and ``load_state_dict``, as an optimiser
    has: its memory is then part of a run's checkpoint.
    """

    headers: dict[str, str]
    steps: frozenset[int]

    def observe(self, model: nn.Module, step: int) -> Observation: ...


def gpus(model: nn.Module) -> list[int]:
    """The indices of the GPUs that hold parameters of ``model``."""
    return sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})


@contextlib.contextmanager
def restoring(model: nn.Module) -> Iterator[None]:
    """On leaving, the mode of every module of ``model`` and all random states are as before."""
    modes = [(module, module.training) for module in model.modules()]
    # Only the network's own devices: fork_rng would otherwise touch every GPU of the machine.
    with torch.random.fork_rng(devices=gpus(model)):
        try:
            yield
        finally:
            for module, mode in modes:
                module.training = mode


@contextlib.contextmanager
def watching(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients, inside :func:`restoring`."""
    with restoring(model), torch.inference_mode():
        model.eval()
        yield


def forward_on_copies(model: nn.Module, images: Tensor, parameters: Mapping[str, Tensor] | None = None) -> Tensor:
    """The output of ``model`` for ``images``, with ``parameters`` in place of its own if given.

    The pass uses copies of the buffers, so the running statistics learn nothing from it.
    """
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    return torch.func.functional_call(model, {**(parameters or {}), **buffers}, (images,))
