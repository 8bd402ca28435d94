"""Batch renormalisation (Ioffe 2017): training that sees, up to a bound, what inference will compute."""

from __future__ import annotations

import torch
from torch import Tensor

from bnrepro.norm.batch import BatchNorm
from bnrepro.norm.functional import batch_statistics, check_batch, per_channel


class BatchRenorm(BatchNorm):
    """His Algorithm 1. In training x̂ = (x − μ_B)/σ_B · r + d and y = γ x̂ + β, where σ_B = √(σ²_B + ε) and

        r = clip(σ_B/σ, 1/r_max, r_max),    d = clip((μ_B − μ)/σ, −d_max, d_max)

    carry no gradient. Without the bounds this is (x − μ)/σ, what inference computes; at r_max = 1, d_max = 0 it is
    batch normalisation. Then μ ← μ + α(μ_B − μ) and σ ← σ + α(σ_B − σ), with α = ``momentum``.

    The bounds start as (1, 0) and are relaxed linearly, from the share ``hold`` of the run's ``steps`` on, to ``d_max``
    at the share ``d_relaxed`` and to ``r_max`` at ``r_relaxed``; his are 5,000, 25,000 and 40,000 of some 130,000
    steps. Steps are counted by ``num_batches_tracked``.

    Shapes, parameters and buffers are those of :class:`~bnrepro.norm.BatchNorm`; ``running_var`` holds σ² − ε, so that
    inference, and all that reads such a layer, is the same. Raises ``ValueError`` for r_max < 1, d_max < 0, negative
    ``steps``, or shares out of order.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def __init__(
        self,
        num_features: int,
        steps: int,
        eps: float = 1e-5,
        momentum: float = 0.01,
        affine: bool = True,
        r_max: float = 3.0,
        d_max: float = 5.0,
        hold: float = 0.04,
        d_relaxed: float = 0.2,
        r_relaxed: float = 0.3,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine)
        if not (1 <= r_max < torch.inf and 0 <= d_max < torch.inf):
            raise ValueError(f"r_max={r_max}, d_max={d_max}: they must be finite, at least 1 and 0")
        if not (steps >= 0 and 0 <= hold < min(d_relaxed, r_relaxed) <= max(d_relaxed, r_relaxed) < torch.inf):
            raise ValueError(
                f"steps={steps}, hold={hold}, d_relaxed={d_relaxed}, r_relaxed={r_relaxed}: steps and shares of them, "
                "at least 0, and hold below the other two"
            )
        self.steps, self.r_max, self.d_max = steps, r_max, d_max
        self.hold, self.d_relaxed, self.r_relaxed = hold, d_relaxed, r_relaxed

    def bounds(self, done: Tensor) -> tuple[Tensor, Tensor]:
        """r_max and d_max, in float64, of the step after ``done`` steps: numbers that stay on the device."""
        share = done.double() / max(self.steps, 1) - self.hold
        r_share, d_share = ((share / (end - self.hold)).clamp(0, 1) for end in (self.r_relaxed, self.d_relaxed))
        return 1 + (self.r_max - 1) * r_share, self.d_max * d_share

    @torch.no_grad()
    def corrections(
        self, mean: Tensor, std: Tensor, running_mean: Tensor, running_var: Tensor, done: Tensor
    ) -> tuple[Tensor, Tensor]:
        """r and d (…, C) for mini-batches with μ_B = ``mean`` and σ_B = ``std``, each (…, C).

        The running statistics (…, C) and the count (…) of the steps then take them in, in place.
        """
        running = torch.sqrt(running_var + self.eps)
        r_max, d_max = (bound.to(std.dtype).unsqueeze(-1) for bound in self.bounds(done))
        r = (std / running).clamp(1 / r_max, r_max)
        d = ((mean - running_mean) / running).clamp(-d_max, d_max)
        running_mean.add_((mean - running_mean) * self.momentum)
        running_var.copy_((running + (std - running) * self.momentum).square() - self.eps)
        done.add_(1)
        return r, d

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        check_batch(input)
        mean, var = batch_statistics(input)
        std = torch.sqrt(var + self.eps)
        r, d = self.corrections(mean, std, self.running_mean, self.running_var, self.num_batches_tracked)
        x_hat = (input - per_channel(mean, input)) / per_channel(std, input) * per_channel(r, input)
        x_hat = x_hat + per_channel(d, input)
        if self.affine:
            x_hat = torch.addcmul(per_channel(self.bias, x_hat), x_hat, per_channel(self.weight, x_hat))
        return x_hat.to(input.dtype)
