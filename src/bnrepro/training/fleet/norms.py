"""The normalisers of stacked fully connected networks: (width, units, N), as the layers beside them."""

from __future__ import annotations

from collections.abc import Sequence

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
from bnrepro.training.fleet.layers import AnyLayer, Layer, Linear, aten
from bnrepro.training.fleet.stack import Stack


def normaliser(stack: Stack, norm: nn.Module, name: str, batch_size: int, linear: Linear) -> Layer:
    """The layer for ``norm``, called ``name`` in each network, behind ``linear``; ``batch_size`` is N."""
    if isinstance(norm, BatchNorm) and norm.momentum is not None:
        # With momentum=None the weight of a mini-batch depends on their number, which the kernel does not know.
        if type(norm) is BatchNorm:
            return KernelNorm(stack, norm, name)
        if type(norm) is NoisyBatchNorm:
            return NoisyNorm(stack, norm, name, batch_size)
        if type(norm) is BatchRenorm:
            return Renorm(stack, norm, name)
        if type(norm) is GhostBatchNorm and batch_size % norm.count(batch_size) == 0:
            return GhostNorm(stack, norm, name, batch_size)
    if type(norm) in (GroupNorm, LayerNorm, RMSNorm):
        return ExampleNorm(stack, norm, name)
    if type(norm) is DynamicTanh:
        return Tanh(stack, norm, name)
    if type(norm) is FilterResponseNorm:
        return FilterResponse(stack, norm, name)
    if type(norm) is WeightNorm:
        return Lengths(stack, norm, name, linear)
    reads_weights = isinstance(norm, Normaliser) and norm.reads_weights
    return AnyLayer(stack, norm, name, linear if reads_weights else None)


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

    def __init__(self, stack: Stack, norm: nn.Module, name: str) -> None:
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

    def __init__(self, stack: Stack, norm: DynamicTanh, name: str) -> None:
        super().__init__(stack, name)
        self.alpha, self.alpha_slope = stack.weights[f"{name}.alpha"], stack.slopes[f"{name}.alpha"]

    def forward(self, x: Tensor, training: bool, draws: list[Tensor]) -> Tensor:
        self.x, self.y = x, torch.tanh(x * self.alpha.unsqueeze(2))
        return self.scaled(self.y)

    def backward(self, slope: Tensor) -> Tensor:
        slope = aten.tanh_backward(self.unscaled(slope), self.y)
        torch.sum((slope * self.x).flatten(1), 1, keepdim=True, out=self.alpha_slope)
        return slope * self.alpha.unsqueeze(2)


class FilterResponse(Scaled):
    """:class:`~bnrepro.norm.FilterResponseNorm` of single values: x̂ = x/√(x² + ε)."""

    def __init__(self, stack: Stack, norm: FilterResponseNorm, name: str) -> None:
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

    def __init__(self, stack: Stack, norm: WeightNorm, name: str, linear: Linear) -> None:
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


class Renorm(KernelNorm):
    """:class:`~bnrepro.norm.BatchRenorm`: the kernel gives (x − μ_B)/σ_B, which is scaled by γr and shifted by γd + β.

    Its running variance is not what the kernel would keep.
    """

    def __init__(self, stack: Stack, norm: BatchRenorm, name: str) -> None:
        super().__init__(stack, norm, name)
        self.norm, shape = norm, (stack.width, -1)
        self.running = self.mean.view(shape), self.var.view(shape), self.count

    def forward(self, x: Tensor, training: bool, draws: list[Tensor]) -> Tensor:
        if not training:
            return super().forward(x, training, draws)
        together = x.reshape(1, -1, x.shape[2])
        y, *statistics = torch.native_batch_norm(together, None, None, None, None, True, 0.0, self.eps)
        mean, inv_std = (each.view(x.shape[:2]) for each in statistics)
        self.r, self.d = self.norm.corrections(mean, inv_std.reciprocal(), *self.running)
        scale, shift = self.r, self.d
        if self.gamma is not None and self.beta is not None:
            scale, shift = self.gamma * self.r, torch.addcmul(self.beta, self.gamma, self.d)
        self.seen = (together, scale.reshape(-1), statistics)
        return (y.view(x.shape) * scale.unsqueeze(2)).add_(shift.unsqueeze(2))

    def backward(self, slope: Tensor) -> Tensor:
        x, scale, statistics = self.seen
        found, of_scale, of_shift = aten.native_batch_norm_backward(
            slope.reshape(x.shape), x, scale, None, None, *statistics, True, self.eps, [True, True, True]
        )
        if self.slopes:
            gamma_slope, beta_slope = self.slopes
            beta_slope.copy_(of_shift.view(beta_slope.shape))
            gamma_slope.copy_(of_scale.view(gamma_slope.shape).mul(self.r).addcmul(beta_slope, self.d))
        return found.view(slope.shape)


class GhostNorm(KernelNorm):
    """:class:`~bnrepro.norm.GhostBatchNorm` with ghost batches of equal sizes: each a feature of its own."""

    def __init__(self, stack: Stack, norm: GhostBatchNorm, name: str, batch_size: int) -> None:
        super().__init__(stack, norm, name)
        self.parts = norm.count(batch_size)
        # The running statistics take in one ghost batch after the other.
        kept = (1 - self.momentum) ** torch.arange(self.parts, -1, -1, dtype=stack.dtype, device=stack.device)
        self.kept, self.weights = kept[0], self.momentum * kept[1:]

    def forward(self, x: Tensor, training: bool, draws: list[Tensor]) -> Tensor:
        if not training:
            return super().forward(x, training, draws)
        together = x.reshape(1, -1, x.shape[2] // self.parts)
        gamma, beta = (None if each is None else self._repeated(each) for each in (self.gamma, self.beta))
        mean, var = x.new_zeros(2, together.shape[1])  # with momentum 1 they become those of the ghost batches
        y, *statistics = torch.native_batch_norm(together, gamma, beta, mean, var, True, 1.0, self.eps)
        for running, each in ((self.mean, mean), (self.var, var)):
            running.mul_(self.kept).add_((each.view(-1, self.parts) * self.weights).sum(1))
        self.count.add_(self.parts)
        self.seen = (together, gamma, statistics)
        return y.view(x.shape)

    def _repeated(self, values: Tensor) -> Tensor:
        """(width, units) → (width · units · parts,)."""
        return values.unsqueeze(2).expand(-1, -1, self.parts).reshape(-1)

    def backward(self, slope: Tensor) -> Tensor:
        x, gamma, statistics = self.seen
        wanted = [True, gamma is not None, gamma is not None]
        found, *slopes = aten.native_batch_norm_backward(
            slope.reshape(x.shape), x, gamma, None, None, *statistics, True, self.eps, wanted
        )
        for own, value in zip(self.slopes, slopes, strict=False):
            torch.sum(value.view(*own.shape, self.parts), 2, out=own)
        return found.view(slope.shape)
