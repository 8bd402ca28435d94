"""The layer from scratch against the library's kernel, forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from benchmarks.rows import Bench, Bound, Measured, row
from bnrepro.config.randomness import generator
from bnrepro.measurements.timing import interleave
from bnrepro.norm import BatchNorm, ReferenceBatchNorm

SHAPES: dict[str, tuple[tuple[int, ...], torch.memory_format, Bound | None]] = {
    "MLP 60×100": ((60, 100), torch.contiguous_format, Bound("most", 5.0)),
    "CNN 32×64×16×16": ((32, 64, 16, 16), torch.contiguous_format, Bound("most", 5.0)),
    "CNN channels_last": ((32, 64, 16, 16), torch.channels_last, None),
}


@row("reference-layer", "layer from scratch / library's layer, forward and backward: time")
def reference_layer(bench: Bench) -> Iterator[Measured]:
    for name, (shape, memory_format, bound) in SHAPES.items():
        repeats = bench.size(40 if len(shape) == 2 else 4, 1)
        x = torch.randn(shape, generator=generator(0, "bench")).contiguous(memory_format=memory_format)
        workloads = {
            "ours": _passes(ReferenceBatchNorm(shape[1]), x, repeats),
            "library": _passes(BatchNorm(shape[1]), x, repeats),
        }
        timings = interleave(workloads, bench.rounds, bench.size(20, 2), bench.clock())
        kept, values = _kept(ReferenceBatchNorm(shape[1]), x), x.numel()
        note = f"keeps the input and {kept - values} further numbers for backward"
        yield Measured(name, timings.ratios("ours", "library"), "×", bound, note=note)


def _passes(layer: nn.Module, x: Tensor, repeats: int) -> Callable[[], None]:
    inputs, gradient = x.clone().requires_grad_(), torch.ones_like(x)

    def run() -> None:
        for _ in range(repeats):
            inputs.grad = None
            layer(inputs).backward(gradient)

    return run


def _kept(layer: nn.Module, x: Tensor) -> int:
    """The count of numbers that autograd keeps from forward to backward, each storage once."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        layer(x.clone().requires_grad_())
    return sum(kept.values())
