"""The fully connected network of §4.1, stacked: its equations forward and backward, for all runs at once.

Activations are (width, units, N), features before examples: then the matrix products, and the kernel of batch
normalisation over width · units features, read and write without a copy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from bnrepro.models.blocks import Block
from bnrepro.models.mlp import MLP
from bnrepro.norm import BatchNorm, NoisyBatchNorm
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


class DenseStack(Stack):
    """Stacked :class:`~bnrepro.models.mlp.MLP` networks; ``batch_size`` is N."""

    def __init__(self, model: MLP, width: int, batch_size: int) -> None:
        super().__init__(model, width)
        self.kernels = self.by_kernels(model)
        self.layers: list[Layer] = []
        for index, block in enumerate(cast(Iterable[Block], model.hidden)):
            name = f"hidden.{index}"
            units = block.linear.out_features
            self.layers.append(Linear(self, f"{name}.linear", first=index == 0))
            last: list[Layer] = [ACTIVATIONS[type(block.activation)]()]
            if block.norm is not None:
                norm = self._norm(block.norm, f"{name}.norm", batch_size)
                last.insert(0 if block.placement == "before" else 1, norm)
            self.layers += last
            if model.dropout is not None:
                self.layers.append(Dropout(model.dropout.p, batch_size, units, self))
        self.layers.append(Linear(self, "output", first=not model.hidden))
        self._one = -torch.ones((), device=self.device, dtype=self.dtype)

    @staticmethod
    def by_kernels(model: MLP) -> bool:
        """Whether every layer is stepped by kernels that treat all places alike."""
        norms = [block.norm for block in cast(Iterable[Block], model.hidden)]
        # With momentum=None the weight of a mini-batch depends on their number, which the kernel does not know.
        return all(
            norm is None or (type(norm) in (BatchNorm, NoisyBatchNorm) and norm.momentum is not None) for norm in norms
        )

    def _norm(self, norm: nn.Module, name: str, batch_size: int) -> Layer:
        if not self.kernels:
            return AnyNorm(self, norm, name)
        return NoisyNorm(self, norm, name, batch_size) if type(norm) is NoisyBatchNorm else KernelNorm(self, norm, name)

    def draws(self, generators: Sequence[torch.Generator]) -> list[Tensor]:
        return [draw for layer in self.layers for draw in layer.draws(generators)]

    @torch.no_grad()
    def losses(self, images: Tensor, labels: Tensor, draws: Sequence[Tensor]) -> Tensor:
        scores = self._forward(images.flatten(2).transpose(1, 2), True, list(draws))
        count = labels.shape[1]
        logarithms = torch.log_softmax(scores, 1)
        places = labels.unsqueeze(1)
        losses = -logarithms.gather(1, places).mean((1, 2))
        # dl/dscores = (softmax − one-hot) / N
        slope = evenly(torch.exp, logarithms)
        slope.scatter_add_(1, places, self._one.expand(places.shape)).div_(count)
        for layer in reversed(self.layers):
            slope = layer.backward(cast(Tensor, slope))
        return losses

    @torch.no_grad()
    def scores(self, images: Tensor) -> Tensor:
        if images.dim() == 4:
            images = images.expand(self.width, *images.shape)
        return self._forward(images.flatten(2).transpose(1, 2), False, []).transpose(1, 2)

    def _forward(self, x: Tensor, training: bool, draws: list[Tensor]) -> Tensor:
        for layer in self.layers:
            x = layer.forward(x, training, draws)
        return x


class Linear(Layer):
    """W x + b. The first layer of a network leaves out the slope of its input."""

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


ACTIVATIONS: dict[type[nn.Module], type[Layer]] = {nn.Sigmoid: Sigmoid, nn.ReLU: ReLU}


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


class KernelNorm(Layer):
    """Batch normalisation by torch's kernel, over the width · units features of all runs."""

    def __init__(self, stack: Stack, norm: nn.Module, name: str) -> None:
        assert isinstance(norm, BatchNorm)
        assert norm.momentum is not None
        self.eps, self.momentum = norm.eps, norm.momentum
        self.gamma, self.beta = stack.weights.get(f"{name}.weight"), stack.weights.get(f"{name}.bias")
        self.slopes = [stack.slopes[key] for key in (f"{name}.weight", f"{name}.bias") if key in stack.slopes]
        self.mean, self.var = (stack.buffers[f"{name}.{part}"].view(-1) for part in ("running_mean", "running_var"))
        self.count = stack.buffers[f"{name}.num_batches_tracked"]

    def forward(self, x: Tensor, training: bool, draws: list[Tensor]) -> Tensor:
        together = x.reshape(1, -1, x.shape[2])
        gamma = None if self.gamma is None else self.gamma.reshape(-1)
        beta = None if self.beta is None else self.beta.reshape(-1)
        y, *statistics = torch.native_batch_norm(
            together, gamma, beta, self.mean, self.var, training, self.momentum, self.eps
        )
        if training:
            self.count.add_(1)
            self.seen = (together, gamma, statistics)
        return y.view(x.shape)

    def backward(self, slope: Tensor) -> Tensor:
        x, gamma, statistics = self.seen
        wanted = [True, gamma is not None, gamma is not None]
        found, *slopes = aten.native_batch_norm_backward(
            slope.reshape(x.shape), x, gamma, self.mean, self.var, *statistics, True, self.eps, wanted
        )
        for own, value in zip(self.slopes, slopes, strict=False):
            own.copy_(value.view(own.shape))
        return found.view(slope.shape)


class NoisyNorm(KernelNorm):
    """:class:`~bnrepro.norm.NoisyBatchNorm`: each run draws from its own generator, in that layer's order."""

    def __init__(self, stack: Stack, norm: NoisyBatchNorm, name: str, batch_size: int) -> None:
        super().__init__(stack, norm, name)
        self.norm, self.batch_size, self.where = norm, batch_size, {"device": stack.device, "dtype": stack.dtype}

    def draws(self, generators: Sequence[torch.Generator]) -> list[Tensor]:
        shifts, scales = zip(*(self._drawn(own) for own in generators), strict=True)
        return [torch.stack(shifts), torch.stack(scales)]

    def _drawn(self, own: torch.Generator) -> tuple[Tensor, Tensor]:
        """Shifts and scales (units, N) of one run."""
        norm, shape = self.norm, (self.batch_size, self.norm.num_features)
        mean, scale = torch.rand(2, 1, norm.num_features, generator=own, **self.where)
        mean, scale = norm.mean * (2 * mean - 1), 1 + (norm.scale - 1) * scale
        shifts = mean + norm.spread * (2 * torch.rand(shape, generator=own, **self.where) - 1)
        scales = scale + norm.spread * torch.randn(shape, generator=own, **self.where)
        return shifts.t(), scales.t()

    def forward(self, x: Tensor, training: bool, draws: list[Tensor]) -> Tensor:
        y = super().forward(x, training, draws)
        if not training:
            return y
        shifts, self.scales = draws.pop(0), draws.pop(0)
        return self.scales * y + shifts

    def backward(self, slope: Tensor) -> Tensor:
        return super().backward(slope * self.scales)


class AnyNorm(Layer):
    """Any other normaliser, a user's own too: the module under ``torch.vmap``, differentiated by autograd."""

    def __init__(self, stack: Stack, norm: nn.Module, name: str) -> None:
        self.norm = norm
        inside = [key for key, _ in norm.named_parameters()]
        self.weights = {key: stack.weights[f"{name}.{key}"] for key in inside}
        self.slopes = [stack.slopes[f"{name}.{key}"] for key in inside]
        self.buffers = {key: stack.buffers[f"{name}.{key}"] for key, _ in norm.named_buffers()}
        self._call: Callable[..., Tensor] = torch.vmap(
            lambda values, x: torch.func.functional_call(norm, values, (x,)), in_dims=(0, 0)
        )

    def forward(self, x: Tensor, training: bool, draws: list[Tensor]) -> Tensor:
        self.norm.train(training)
        examples = x.transpose(1, 2)
        if not training:
            return self._call(self.weights | self.buffers, examples).transpose(1, 2)
        with torch.enable_grad():
            self.inputs = [part.detach().requires_grad_() for part in (examples, *self.weights.values())]
            weights = dict(zip(self.weights, self.inputs[1:], strict=True))
            self.y = self._call(weights | self.buffers, self.inputs[0])
        return self.y.detach().transpose(1, 2)

    def backward(self, slope: Tensor) -> Tensor:
        found, *slopes = torch.autograd.grad(
            self.y, self.inputs, slope.transpose(1, 2), allow_unused=True, materialize_grads=True
        )
        for own, value in zip(self.slopes, slopes, strict=True):
            own.copy_(value)
        del self.y
        return found.transpose(1, 2)
