"""Filter response normalisation with its thresholded linear unit (Singh & Krishnan 2020)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bnrepro.norm.functional import check_eps, check_input, per_channel
from bnrepro.norm.interface import Affine


class FilterResponseNorm(Affine):
    """y = γ · x / √(ν² + ε) + β, their eqs. 1 and 2: ν² is the mean square of one channel of one example.

    For (N, C, H, W) inputs it is the mean over the positions. In (N, C) inputs a channel has a single value, ν² = x²,
    and a small ε leaves only its sign: the paper learns ε there, as ε = ``eps`` + |ε_l| with ε_l = ``learned_eps`` at
    first, one number a layer. It is learned everywhere here, unless ``learned_eps`` is None.

    With ``tlu``, a ReLU of the network becomes their :class:`ThresholdedLinear`, which is a ReLU with a learned
    threshold. Another activation stays: a network of sigmoids is one of sigmoids still. Raises ``ValueError`` for an
    ``eps`` or ``learned_eps`` that is not positive and finite; the call for a wrong rank.
    """

    eps_l: nn.Parameter | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-6,
        learned_eps: float | None = 1e-4,
        tlu: bool = True,
        affine: bool = True,
    ) -> None:
        super().__init__(num_features, affine)
        check_eps(eps)
        self.eps, self.tlu = eps, tlu
        if learned_eps is not None and not 0 < learned_eps < math.inf:
            raise ValueError(f"learned_eps must be None or a positive finite number, got {learned_eps}")
        eps_l = None if learned_eps is None else nn.Parameter(torch.tensor([float(learned_eps)]))
        self.register_parameter("eps_l", eps_l)

    def forward(self, input: Tensor) -> Tensor:
        check_input(input)
        squares = input.square()
        nu2 = squares.mean(tuple(range(2, input.dim())), keepdim=True) if input.dim() > 2 else squares
        eps = self.eps if self.eps_l is None else self.eps + self.eps_l.abs()
        return self.scaled(input * torch.rsqrt(nu2 + eps))

    def in_place_of(self, activation: nn.Module) -> nn.Module:
        return ThresholdedLinear(self.num_features) if self.tlu and isinstance(activation, nn.ReLU) else activation


class ThresholdedLinear(nn.Module):
    """z = max(y, τ), their eq. 3, with a learned τ (C,) for each channel of (N, C) or (N, C, H, W); 0 at first.

    Where y = τ, the gradient is that of τ, as that of a ReLU at 0 is not its input's.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.zeros(num_features))

    def forward(self, input: Tensor) -> Tensor:
        threshold = per_channel(self.threshold, input).to(input.dtype)
        return torch.where(input > threshold, input, threshold)
