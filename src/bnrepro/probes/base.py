"""What every probe is: a schedule and a function from a network to rows, and the guard that keeps it pure."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import nn


@dataclass
class Observation:
    """What a probe saw at one step: CSV lines per table, histograms (counts, bin edges) and single numbers per name.

    Results come from the lines alone; the rest is for those who watch.
    """

    rows: dict[str, list[str]] = field(default_factory=dict)
    histograms: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)


class Probe(Protocol):
    """``headers`` names each table's columns; ``steps`` says when ``observe`` is to be called."""

    headers: dict[str, str]
    steps: frozenset[int]

    def observe(self, model: nn.Module, step: int) -> Observation: ...


@contextlib.contextmanager
def watching(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; on leaving, the mode of every module and all random states are as before."""
    modes = [(module, module.training) for module in model.modules()]
    # The generator of the network's own device: fork_rng would otherwise touch every GPU of the machine.
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
    with torch.random.fork_rng(devices=devices), torch.inference_mode():
        model.eval()
        try:
            yield
        finally:
            for module, mode in modes:
                module.training = mode
