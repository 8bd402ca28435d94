"""The layers of stacked fully connected networks: forward and backward, for all runs at once.

Activations are (width, units, N), features before examples: then the matrix products, and the kernel of batch
normalisation over width · units features, read and write without a copy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bnrepro.norm.filter_response import ThresholdedLinear
from bnrepro.training.fleet.stack import ALIGNED, Stack, dropout_mask

aten: Any = torch.ops.aten
LANES = 32
"""Elements that a CPU kernel takes at a time, or a multiple of them."""


def product(left: Tensor, right: Tensor) -> Tensor:
    """``torch.bmm``, each matrix of the result aligned: products of others may differ in their last bits."""
    width, rows, columns = left.shape[0], left.shape[1], right.shape[2]
    size = rows * columns
    if size % ALIGNED == 0:
        return torch.bmm(left, right)
    return torch.bmm(left, right, out=_room(left, width, size).unflatten(1, (rows, columns)))


def _room(like: Tensor, width: int, size: int) -> Tensor:
    return like.new_empty(width, -(-size // ALIGNED) * ALIGNED)[:, :size]


def aligned(x: Tensor) -> Tensor:
    """``x`` (width, rows, columns), or a transposed one, with each matrix aligned: a copy only if it is not."""
    if x.stride(0) % ALIGNED == 0 and (x.stride(1) == 1 or x.stride(2) == 1):
        return x
    width, rows, columns = x.shape
    return _room(x, width, rows * columns).unflatten(1, (rows, columns)).copy_(x)


def evenly(function: Callable[..., Tensor], x: Tensor) -> Tensor:
    """``function``, elementwise, computed in the same way for every place.

    On a CPU the vectorised exponential and the scalar one, which is left with the last elements, differ in their last
    bit: a run in the last place would be another one. So the last elements are computed again as a whole vector.
    """
    y, size = function(x), x.numel()
    if size % LANES and size > LANES and x.is_cpu and x.is_contiguous():
        last = size - LANES
        function(x.as_strided((LANES,), (1,), x.storage_offset() + last), out=y.as_strided((LANES,), (1,), last))
    return y


class Layer(ABC):
    """One layer of all networks. ``training`` passes remember what their ``backward`` needs."""

    def draws(self, generators: Sequence[torch.Generator]) -> list[Tensor]:
        """What this layer draws in a training step; nothing, for most."""
        return []

    @abstractmethod
    def forward(self, x: Tensor, training: bool, draws: list[Tensor]) -> Tensor:
        """(width, units, N) → (width, units', N). Takes its own from the front of ``draws``."""

    @abstractmethod
    def backward(self, slope: Tensor) -> Tensor | None:
        """Fills the slopes of this layer's parameters, and returns the slope of its input."""


class Linear(Layer):
    """W x + b. The first layer of a network leaves out the slope of its input.

    ``more`` (width, outputs, inputs) is the slope of the weights through a normaliser that reads them, None without.
    """

    more: Tensor | None = None

    def __init__(self, stack: Stack, name: str, first: bool) -> None:
        self.weight, self.weight_slope = stack.weights[f"{name}.weight"], stack.slopes[f"{name}.weight"]
        self.bias, self.bias_slope = stack.weights.get(f"{name}.bias"), stack.slopes.get(f"{name}.bias")
        self.first = first

    def forward(self, x: Tensor, training: bool, draws: list[Tensor]) -> Tensor:
        x = aligned(x)
        if training:
            self.x = x
        y = product(self.weight, x)
        return y if self.bias is None else y.add_(self.bias.unsqueeze(2))

    def backward(self, slope: Tensor) -> Tensor | None:
        slope = aligned(slope)
        torch.bmm(slope, self.x.transpose(1, 2), out=self.weight_slope)
        if self.more is not None:
            self.weight_slope.add_(self.more)
        if self.bias_slope is not None:
            torch.sum(slope, 2, out=self.bias_slope)
        return None if self.first else product(self.weight.transpose(1, 2), slope)


class Sigmoid(Layer):
    def forward(self, x: Tensor, training: bool, draws: list[Tensor]) -> Tensor:
        self.y = evenly(torch.sigmoid, x)
        return self.y

    def backward(self, slope: Tensor) -> Tensor:
        return aten.sigmoid_backward(slope, self.y)


class ReLU(Layer):
    def forward(self, x: Tensor, training: bool, draws: list[Tensor]) -> Tensor:
        self.y = torch.relu(x)
        return self.y

    def backward(self, slope: Tensor) -> Tensor:
        return aten.threshold_backward(slope, self.y, 0)


class Threshold(Layer):
    """:class:`~bnrepro.norm.filter_response.ThresholdedLinear`."""

    def __init__(self, stack: Stack, name: str) -> None:
        self.threshold, self.slope = stack.weights[f"{name}.threshold"], stack.slopes[f"{name}.threshold"]

    def forward(self, x: Tensor, training: bool, draws: list[Tensor]) -> Tensor:
        threshold = self.threshold.unsqueeze(2)
        self.above = x > threshold
        return torch.where(self.above, x, threshold)

    def backward(self, slope: Tensor) -> Tensor:
        passed = slope * self.above
        torch.sum(slope - passed, 2, out=self.slope)
        return passed


ACTIVATIONS: dict[type[nn.Module], Callable[[Stack, str], Layer]] = {
    nn.Sigmoid: lambda stack, name: Sigmoid(),
    nn.ReLU: lambda stack, name: ReLU(),
    ThresholdedLinear: Threshold,
}


def activation(stack: Stack, module: nn.Module, name: str) -> Layer:
    """The layer for the activation ``module``, called ``name`` in each network."""
    known = ACTIVATIONS.get(type(module))
    return AnyLayer(stack, module, name) if known is None else known(stack, name)


class Dropout(Layer):
    """Each run draws its masks from its own generator."""

    def __init__(self, share: float, batch_size: int, units: int, stack: Stack) -> None:
        self.stack, self.share, self.shape = stack, share, (batch_size, units)

    def draws(self, generators: Sequence[torch.Generator]) -> list[Tensor]:
        return [torch.stack([dropout_mask(self.stack, self.shape, self.share, own).t() for own in generators])]

    def forward(self, x: Tensor, training: bool, draws: list[Tensor]) -> Tensor:
        if not training:
            return x
        self.mask = draws.pop(0)
        return x * self.mask

    def backward(self, slope: Tensor) -> Tensor:
        return slope * self.mask


class AnyLayer(Layer):
    """A module of any other kind, a user's own too, under ``torch.vmap``, differentiated by autograd.

    ``linear`` is the layer before a normaliser that reads its weights.
    """

    def __init__(self, stack: Stack, module: nn.Module, name: str, linear: Linear | None = None) -> None:
        self.module, self.linear = module, linear
        inside = [key for key, _ in module.named_parameters()]
        self.weights = {key: stack.weights[f"{name}.{key}"] for key in inside}
        self.slopes = [stack.slopes[f"{name}.{key}"] for key in inside]
        self.buffers = {key: stack.buffers[f"{name}.{key}"] for key, _ in module.named_buffers()}
        self._call: Callable[..., Tensor] = torch.vmap(
            lambda values, *given: torch.func.functional_call(module, values, given)
        )

    def forward(self, x: Tensor, training: bool, draws: list[Tensor]) -> Tensor:
        self.module.train(training)
        given = [x.transpose(1, 2)] if self.linear is None else [x.transpose(1, 2), self.linear.weight]
        if not training:
            return self._call(self.weights | self.buffers, *given).transpose(1, 2)
        with torch.enable_grad():
            self.inputs = [part.detach().requires_grad_() for part in (*given, *self.weights.values())]
            weights = dict(zip(self.weights, self.inputs[len(given) :], strict=True))
            self.y = self._call(weights | self.buffers, *self.inputs[: len(given)])
        return self.y.detach().transpose(1, 2)

    def backward(self, slope: Tensor) -> Tensor:
        found, *slopes = torch.autograd.grad(
            self.y, self.inputs, slope.transpose(1, 2), allow_unused=True, materialize_grads=True
        )
        if self.linear is not None:
            self.linear.more, *slopes = slopes
        for own, value in zip(self.slopes, slopes, strict=True):
            own.copy_(value)
        del self.y
        return found.transpose(1, 2)
