"""Dynamic tanh (Zhu et al. 2025, "Transformers without Normalization"): a sigmoidal function as a normaliser."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bnrepro.norm.functional import check_input
from bnrepro.norm.interface import Affine


class DynamicTanh(Affine):
    """DyT(x) = γ · tanh(αx) + β, their §4: no statistics at all.

    α is one learned number a layer, ``alpha`` at first (their α₀ = 0.5); γ and β are per feature of (N, C), or per
    channel of (N, C, H, W). Raises ``ValueError`` for an ``alpha`` that is not positive and finite; the call for a
    wrong rank.
    """

    def __init__(self, num_features: int, alpha: float = 0.5, affine: bool = True) -> None:
        super().__init__(num_features, affine)
        if not 0 < alpha < math.inf:
            raise ValueError(f"alpha must be a positive finite number, got {alpha}")
        self.alpha = nn.Parameter(torch.tensor([float(alpha)]))

    def forward(self, input: Tensor) -> Tensor:
        check_input(input)
        return self.scaled(torch.tanh(self.alpha * input))
