"""Batch normalisation and its relatives, stacked: torch's kernel over the features of all runs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bnrepro.norm import BatchNorm, BatchRenorm, GhostBatchNorm, NoisyBatchNorm
from bnrepro.training.fleet.layers import Layer, Linear, aten
from bnrepro.training.fleet.stack import Stack


class KernelNorm(Layer):
    """Batch normalisation by torch's kernel, over the width · units features of all runs."""

    def __init__(self, stack: Stack, norm: nn.Module, name: str, batch_size: int, linear: Linear) -> None:
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

    def __init__(self, stack: Stack, norm: NoisyBatchNorm, name: str, batch_size: int, linear: Linear) -> None:
        super().__init__(stack, norm, name, batch_size, linear)
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


class Renorm(KernelNorm):
    """:class:`~bnrepro.norm.BatchRenorm`: the kernel gives (x − μ_B)/σ_B, which is scaled by γr and shifted by γd + β.

    Its running variance is not what the kernel would keep.
    """

    def __init__(self, stack: Stack, norm: BatchRenorm, name: str, batch_size: int, linear: Linear) -> None:
        super().__init__(stack, norm, name, batch_size, linear)
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
            scale, shift = self.gamma * self.r, (self.gamma * self.d).add_(self.beta)
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
            gamma_slope.copy_((of_scale.view(gamma_slope.shape) * self.r).add_(beta_slope * self.d))
        return found.view(slope.shape)


class GhostNorm(KernelNorm):
    """:class:`~bnrepro.norm.GhostBatchNorm` with ghost batches of equal sizes: each a feature of its own."""

    def __init__(self, stack: Stack, norm: GhostBatchNorm, name: str, batch_size: int, linear: Linear) -> None:
        super().__init__(stack, norm, name, batch_size, linear)
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
