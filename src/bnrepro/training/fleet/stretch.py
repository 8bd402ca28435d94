"""A stretch of updates with fixed addresses: on a CUDA card it is captured once as a graph, and replayed.

Nothing inside waits for the host or branches on data. The host writes mini-batch indices, learning rates, augmentation
and random draws of a stretch into its buffers, and goes on to prepare the next while the card computes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bnrepro.data.batches import Changes, changed
from bnrepro.training.fleet.stack import Stack, Stepper

STEPS = 25
"""Updates in a stretch: longer ones save nothing more."""

Replay = Callable[[], object]
Capture = Callable[[Replay], Replay]
"""Turns a function without arguments into one that does the same work again."""


@dataclass(frozen=True)
class Inputs:
    """What one update needs from the host: ``chosen`` (width · N,) examples, ``rates`` (width, 1), what is drawn."""

    chosen: Tensor
    rates: Tensor
    changes: Changes
    draws: Sequence[Tensor]

    def tensors(self) -> list[Tensor]:
        return [self.chosen, self.rates, *(part for part in self.changes if part is not None), *self.draws]


class Stretch:
    """``steps`` updates of all places. ``examples`` is the training set on the device; ``like`` gives the shapes."""

    def __init__(
        self, stack: Stack, stepper: Stepper, examples: Any, shift: int, like: Inputs, steps: int, capture: Capture
    ) -> None:
        self.stack, self.stepper, self.examples, self.shift, self.steps = stack, stepper, examples, shift, steps
        device = stack.device
        self.inputs = [_copied(like, device) for _ in range(steps)]
        self.settings = (stack.parameters.new_zeros(stack.width, 1), stack.parameters.new_zeros(stack.width, 1))
        self.losses = stack.parameters.new_zeros(steps, stack.width)
        # Captures run the updates: what they change is put back.
        state = [stack.parameters, stack.gradients, stack.velocities, *stack.buffers.values()]
        before = [tensor.clone() for tensor in state]
        self._replay = capture(self._updates)
        for tensor, value in zip(state, before, strict=True):
            tensor.copy_(value)

    def _updates(self) -> None:
        for index, given in enumerate(self.inputs):
            images = changed(self.examples.images.index_select(0, given.chosen), given.changes, self.shift)
            labels = self.examples.labels.index_select(0, given.chosen).view(self.stack.width, -1)
            images = images.unflatten(0, (self.stack.width, -1))
            self.losses[index].copy_(self.stack.losses(images, labels, given.draws))
            self.stepper.by_equations(given.rates, self.settings)

    def run(self, inputs: Sequence[Inputs]) -> Tensor:
        """Make the updates; returns the losses (steps, width), on the device, without waiting for them."""
        for own, value in zip(self.settings, self.stepper.settings(), strict=True):
            own.copy_(value, non_blocking=True)
        for place, given in zip(self.inputs, inputs, strict=True):
            for own, value in zip(place.tensors(), given.tensors(), strict=True):
                own.copy_(value, non_blocking=True)
        self._replay()
        return self.losses.clone()


def _copied(like: Inputs, device: torch.device) -> Inputs:
    changes = Changes(*(None if part is None else part.to(device, copy=True) for part in like.changes))
    draws = [draw.to(device, copy=True) for draw in like.draws]
    return Inputs(like.chosen.to(device, copy=True), like.rates.to(device, copy=True), changes, draws)


def cuda_graph(work: Replay) -> Replay:
    """Capture ``work`` as a CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        # cuBLAS and the allocator settle on first use, which a capture must not see.
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay
