"""§2: the cost of normalising each feature by itself and of whitening all of them jointly, by their number."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import pandas as pd
import torch
from torch import nn

from bnrepro.config.randomness import generator
from bnrepro.measurements.timing import Timings, interleave
from bnrepro.norm import ReferenceBatchNorm
from bnrepro.norm.pitfalls import ZCAWhitening
from bnrepro.norm.whitening import CholeskyWhitening, NewtonSchulzWhitening

LAYERS: dict[str, Callable[[int], nn.Module]] = {
    "per feature": ReferenceBatchNorm,
    "eigenvectors": ZCAWhitening,
    "Cholesky": CholeskyWhitening,
    "Newton–Schulz": NewtonSchulzWhitening,
}
SLICES_AT = 512
"""Narrow layers take microseconds and are timed more often: this number ÷ the width, at least 3 slices a round."""


def measure(widths: Sequence[int], examples: int, rounds: int) -> pd.DataFrame:
    """Forward and backward pass of the from-scratch layers in training, float32, timed in turn in one process.

    Columns: ``width``; ``round``; ``layer``, one of ``LAYERS``; ``seconds``, the median of the round's slices in
    processor time, which other work on the cores lengthens less than elapsed time; ``white``, the largest entry of the
    outputs' covariance minus the identity: a layer that whitens leaves rounding and ε; ``core_share``, processor time ÷
    elapsed time at this width: well below 1, there was other work.
    """
    rows = []
    for width in widths:
        gen = generator(0, "whitening_cost", width)
        x = torch.randn(examples, width, generator=gen).requires_grad_()
        dy = torch.randn(examples, width, generator=gen)

        def step(layer: nn.Module, x: torch.Tensor = x, dy: torch.Tensor = dy) -> Callable[[], object]:
            values = (x, *layer.parameters())
            return lambda: torch.autograd.grad(layer(x), values, dy)

        layers = {name: make(width) for name, make in LAYERS.items()}
        white = {name: _distance_from_white(layer(x).detach()) for name, layer in layers.items()}
        timings = Timings(clock=time.process_time)
        began, used = time.perf_counter(), time.process_time()
        interleave({name: step(layer) for name, layer in layers.items()}, rounds, max(3, SLICES_AT // width), timings)
        share = (time.process_time() - used) / (time.perf_counter() - began)
        for name in layers:
            for index, seconds in enumerate(timings.seconds(name)):
                rows.append((width, index, name, seconds, white[name], share))
    return pd.DataFrame(rows, columns=["width", "round", "layer", "seconds", "white", "core_share"])


def _distance_from_white(y: torch.Tensor) -> float:
    """The largest entry of Cov[y] − I, for outputs y (N, C) with biased covariance, in float64."""
    centered = y.double() - y.double().mean(0)
    return (centered.T @ centered / len(y) - torch.eye(y.shape[1], dtype=torch.float64)).abs().max().item()
