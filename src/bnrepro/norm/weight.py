"""Weight normalisation (Salimans & Kingma 2016): length and direction of each unit's weights, learned apart."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bnrepro.norm.functional import batch_statistics, check_eps, check_input, per_channel
from bnrepro.norm.interface import Affine


class WeightNorm(Affine):
    """y = w·x + b with w = (g/‖v‖) v, their eqs. 1 and 2, for a layer whose own weights are v and that has no bias.

    The layer computes v·x, and this module scales it by g/‖v‖ and adds b: the same function with the same gradients
    (eq. 3), and both g (``weight``) and b (``bias``), each (C,), stand where the other normalisers have γ and β. ‖v‖ is
    over all weights of a unit or output channel. (N, C) or (N, C, H, W).

    With ``from_data``, the first mini-batch sets g = 1/σ[t] and b = −μ[t]/σ[t] for t = v·x/‖v‖ (eqs. 5 and 6), so that
    every unit starts with mean 0 and variance 1; else g = 1 and b = 0. ``eps``, which the paper does not have, is added
    to σ² there: a unit that never changes stays finite. Raises ``ValueError`` for an ``eps`` that is not positive and
    finite; the call for a wrong rank.
    """

    reads_weights: ClassVar[bool] = True

    def __init__(self, num_features: int, from_data: bool = True, eps: float = 1e-5) -> None:
        super().__init__(num_features)
        check_eps(eps)
        self.from_data, self.eps = from_data, eps

    def forward(self, input: Tensor, weights: Tensor) -> Tensor:
        check_input(input)
        assert self.weight is not None
        assert self.bias is not None
        scale = self.weight / _lengths(weights)
        return torch.addcmul(per_channel(self.bias, input), input, per_channel(scale, input))

    @property
    def starts_from_data(self) -> bool:
        return self.from_data

    @torch.no_grad()
    def start(self, x: Tensor, *weights: Tensor) -> None:
        assert self.weight is not None
        assert self.bias is not None
        mean, var = batch_statistics(x / per_channel(_lengths(*weights), x))
        inv_std = torch.rsqrt(var + self.eps)
        self.weight.copy_(inv_std)
        self.bias.copy_(-mean * inv_std)


def _lengths(weights: Tensor) -> Tensor:
    """‖v‖ (C,) of the weights of each unit."""
    return torch.linalg.vector_norm(weights.flatten(1), dim=1)
