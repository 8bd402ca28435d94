"""Batch Normalization followed by noise whose distribution changes: deliberate covariate shift.

Santurkar et al. 2018 (arXiv:1805.11604, §2.1) train such a network to test whether stable distributions are why Batch
Normalization works. The noise and its constants are those of their appendix A.2, Algorithm 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bnrepro.norm.batch import BatchNorm


class NoisyBatchNorm(BatchNorm):
    """y = s·BN(x) + m in training, BN(x) at inference; same shapes as :class:`~bnrepro.norm.BatchNorm`.

    At every training step, each unit of the layer draws a mean μ ~ U(−``mean``, ``mean``) and a scale
    σ ~ U(1, ``scale``); each of its activations then draws m ~ U(μ − ``spread``, μ + ``spread``) and
    s ~ N(σ, ``spread``²). The mean and the variance of the noise thus differ from unit to unit and from step to step.
    All draws come from torch's global generator, as dropout's do. Raises ``ValueError`` for a ``mean`` or ``spread``
    below 0, or a ``scale`` below 1.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        mean: float = 0.5,
        scale: float = 1.25,
        spread: float = 0.1,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine)
        if not (0 <= mean < math.inf and 1 <= scale < math.inf and 0 <= spread < math.inf):
            raise ValueError(f"mean={mean}, scale={scale}, spread={spread}: they must be finite, at least 0, 1 and 0")
        self.mean, self.scale, self.spread = mean, scale, spread

    def forward(self, input: Tensor) -> Tensor:
        y = super().forward(input)
        if not self.training:
            return y
        unit = [1, self.num_features] + [1] * (y.dim() - 2)
        mean, scale = torch.rand(2, *unit, dtype=y.dtype, device=y.device)
        mean, scale = self.mean * (2 * mean - 1), 1 + (self.scale - 1) * scale
        shifts = mean + self.spread * (2 * torch.rand_like(y) - 1)
        scales = scale + self.spread * torch.randn_like(y)
        return scales * y + shifts
