"""The normalisers of stacked fully connected networks: (width, units, N), as the layers beside them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bnrepro.norm import (
    BatchNorm,
    BatchRenorm,
    DynamicTanh,
    FilterResponseNorm,
    GhostBatchNorm,
    GroupNorm,
    LayerNorm,
    NoisyBatchNorm,
    Normaliser,
    RMSNorm,
    WeightNorm,
)
from bnrepro.training.fleet.batch_norms import GhostNorm, KernelNorm, NoisyNorm, Renorm
from bnrepro.training.fleet.layers import AnyLayer, Layer, Linear, evenly
from bnrepro.training.fleet.stack import Stack


def form(norm: nn.Module, batch_size: int) -> Callable[..., Layer] | None:
    """What steps ``norm`` in all places by kernels that treat these alike; None for a module of any other kind."""
    kind = type(norm)
    if isinstance(norm, BatchNorm) and norm.momentum is None:
        return None  # the weight of a mini-batch depends on their number, which the kernel does not know
    if isinstance(norm, GhostBatchNorm) and batch_size % norm.count(batch_size):
        return None  # they are of two sizes
    return FORMS.get(kind)


def normaliser(stack: Stack, norm: nn.Module, name: str, batch_size: int, linear: Linear) -> Layer:
    """The layer for ``norm``, called ``name`` in each network, behind ``linear``; ``batch_size`` is N."""
    known = form(norm, batch_size)
    if known is not None:
        return known(stack, norm, name, batch_size, linear)
    reads_weights = isinstance(norm, Normaliser) and norm.reads_weights
    return AnyLayer(stack, norm, name, linear if reads_weights else None)


class Scaled(Layer):
    """What ends with γ x̂ + β, each (width, units), or with x̂ if there are none."""

    def __init__(self, stack: Stack, name: str) -> None:
        keys = [key for key in (f"{name}.weight", f"{name}.bias") if key in stack.weights]
        self.affine = [stack.weights[key] for key in keys]
        self.affine_slopes = [stack.slopes[key] for key in keys]

    def scaled(self, x_hat: Tensor) -> Tensor:
        if not self.affine:
            return x_hat
        self.x_hat = x_hat
        gamma, beta = (each.unsqueeze(2) for each in self.affine)
        # Faster than one fused operation, which takes no parameter that is the same for all examples.
        return (x_hat * gamma).add_(beta)

    def unscaled(self, slope: Tensor) -> Tensor:
        """The slope of x̂ from that of the output."""
        if not self.affine:
            return slope
        gamma_slope, beta_slope = self.affine_slopes
        torch.sum(slope * self.x_hat, 2, out=gamma_slope)
        torch.sum(slope, 2, out=beta_slope)
        return slope * self.affine[0].unsqueeze(2)


class ExampleNorm(Scaled):
    """Group, layer and RMS normalisation: over groups of the units of each example, RMS without the mean."""

    def __init__(self, stack: Stack, norm: nn.Module, name: str, batch_size: int, linear: Linear) -> None:
        assert isinstance(norm, GroupNorm | LayerNorm | RMSNorm)
        super().__init__(stack, name)
        self.centred, self.eps = not isinstance(norm, RMSNorm), norm.eps
        self.groups = 1 if isinstance(norm, RMSNorm) else norm.num_groups

    def forward(self, x: Tensor, training: bool, draws: list[Tensor]) -> Tensor:
        parts = x.unflatten(1, (self.groups, -1))
        # The kernel for mean and variance takes ten times as long as their sums.
        parts = parts - parts.mean(2, keepdim=True) if self.centred else parts
        self.inv = torch.rsqrt(parts.square().mean(2, keepdim=True).add_(self.eps))
        self.normalised = parts * self.inv
        return self.scaled(self.normalised.view(x.shape))

    def backward(self, slope: Tensor) -> Tensor:
        slope = self.unscaled(slope).unflatten(1, (self.groups, -1))
        along = self.normalised * (slope * self.normalised).mean(2, keepdim=True)
        found = slope - along
        if self.centred:
            found.sub_(slope.mean(2, keepdim=True))
        return found.mul_(self.inv).flatten(1, 2)


class Tanh(Scaled):
    """:class:`~bnrepro.norm.DynamicTanh`."""

    def __init__(self, stack: Stack, norm: DynamicTanh, name: str, batch_size: int, linear: Linear) -> None:
        super().__init__(stack, name)
        self.alpha, self.alpha_slope = stack.weights[f"{name}.alpha"], stack.slopes[f"{name}.alpha"]

    def forward(self, x: Tensor, training: bool, draws: list[Tensor]) -> Tensor:
        self.x, self.y = x, evenly(torch.tanh, x * self.alpha.unsqueeze(2))
        return self.scaled(self.y)

    def backward(self, slope: Tensor) -> Tensor:
        # By parts: compilers fuse the kernel's product and difference in some places of a tensor and not in others.
        slope = self.y.square().neg_().add_(1).mul_(self.unscaled(slope))
        torch.sum((slope * self.x).flatten(1), 1, keepdim=True, out=self.alpha_slope)
        return slope * self.alpha.unsqueeze(2)


class FilterResponse(Scaled):
    """:class:`~bnrepro.norm.FilterResponseNorm` of single values: x̂ = x/√(x² + ε)."""

    def __init__(self, stack: Stack, norm: FilterResponseNorm, name: str, batch_size: int, linear: Linear) -> None:
        super().__init__(stack, name)
        self.eps, self.learned = norm.eps, stack.weights.get(f"{name}.eps_l")
        self.learned_slope = stack.slopes.get(f"{name}.eps_l")

    def forward(self, x: Tensor, training: bool, draws: list[Tensor]) -> Tensor:
        self.all_eps = self.eps if self.learned is None else (self.learned.abs() + self.eps).unsqueeze(2)
        self.x, self.inv = x, torch.rsqrt(x.square() + self.all_eps)
        return self.scaled(x * self.inv)

    def backward(self, slope: Tensor) -> Tensor:
        # dx̂/dx = ε (x² + ε)^(−3/2) and dx̂/dε = −x/2 (x² + ε)^(−3/2)
        slope = self.unscaled(slope).mul(self.inv.square().mul_(self.inv))
        if self.learned is not None and self.learned_slope is not None:
            total = (slope * self.x).flatten(1).sum(1, keepdim=True)
            self.learned_slope.copy_(total.mul_(-0.5).mul_(self.learned.sign()))
        return slope * self.all_eps


class Lengths(Layer):
    """:class:`~bnrepro.norm.WeightNorm`: (g/‖v‖) v·x + b, behind the layer that computes v·x."""

    def __init__(self, stack: Stack, norm: WeightNorm, name: str, batch_size: int, linear: Linear) -> None:
        self.gain, self.bias = stack.weights[f"{name}.weight"], stack.weights[f"{name}.bias"]
        self.gain_slope, self.bias_slope = stack.slopes[f"{name}.weight"], stack.slopes[f"{name}.bias"]
        self.linear = linear

    def forward(self, x: Tensor, training: bool, draws: list[Tensor]) -> Tensor:
        self.x, self.inv = x, torch.linalg.vector_norm(self.linear.weight, dim=2).reciprocal_()
        self.scale = self.gain * self.inv
        return (x * self.scale.unsqueeze(2)).add_(self.bias.unsqueeze(2))

    def backward(self, slope: Tensor) -> Tensor:
        torch.sum(slope, 2, out=self.bias_slope)
        torch.mul((slope * self.x).sum(2), self.inv, out=self.gain_slope)
        # d(g/‖v‖)/dv = −g v/‖v‖³
        toward = self.gain_slope * self.scale * self.inv
        self.linear.more = self.linear.weight * toward.neg_().unsqueeze(2)
        return slope * self.scale.unsqueeze(2)


FORMS: dict[type[nn.Module], Callable[..., Layer]] = {
    BatchNorm: KernelNorm,
    NoisyBatchNorm: NoisyNorm,
    BatchRenorm: Renorm,
    GhostBatchNorm: GhostNorm,
    GroupNorm: ExampleNorm,
    LayerNorm: ExampleNorm,
    RMSNorm: ExampleNorm,
    DynamicTanh: Tanh,
    FilterResponseNorm: FilterResponse,
    WeightNorm: Lengths,
}
