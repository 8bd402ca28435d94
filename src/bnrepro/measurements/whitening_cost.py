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

SLICES_AT = 512
"""Narrow layers take microseconds and are timed more often: this number ÷ the width, at least 3 slices a round."""


def measure(widths: Sequence[int], examples: int, rounds: int) -> pd.DataFrame:
    """Forward and backward pass of both from-scratch layers in training, float32, timed in turn in one process.

    Columns: ``width``; ``round``; ``per_feature`` and ``whitening``, the median of the round's slices in seconds of
    processor time, which other work on the cores lengthens less than elapsed time; ``ratio``; ``core_share``, processor
    time ÷ elapsed time at this width: well below 1, there was other work.
    """
    rows = []
    for width in widths:
        gen = generator(0, "whitening_cost", width)
        x = torch.randn(examples, width, generator=gen).requires_grad_()
        dy = torch.randn(examples, width, generator=gen)

        def step(layer: nn.Module, x: torch.Tensor = x, dy: torch.Tensor = dy) -> Callable[[], object]:
            values = (x, *layer.parameters())
            return lambda: torch.autograd.grad(layer(x), values, dy)

        workloads = {"per_feature": step(ReferenceBatchNorm(width)), "whitening": step(ZCAWhitening(width))}
        timings = Timings(clock=time.process_time)
        began, used = time.perf_counter(), time.process_time()
        interleave(workloads, rounds, max(3, SLICES_AT // width), timings)
        share = (time.process_time() - used) / (time.perf_counter() - began)
        columns = (timings.seconds("per_feature"), timings.seconds("whitening"))
        for index, (plain, full) in enumerate(zip(*columns, strict=True)):
            rows.append((width, index, plain, full, full / plain, share))
    return pd.DataFrame(rows, columns=["width", "round", "per_feature", "whitening", "ratio", "core_share"])
