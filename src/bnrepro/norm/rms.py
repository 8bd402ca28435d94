"""Root mean square layer normalisation (Zhang & Sennrich 2019): layer normalisation without the mean."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from bnrepro.norm.functional import check_eps, check_input
from bnrepro.norm.interface import Affine


class RMSNorm(Affine):
    """a_i ← g_i · a_i / RMS(a) + b_i with RMS(a) = √(1/n Σ a_i²), their eq. 4, over the n features of one example.

    The bias b of their eq. 1 follows the normalisation, as in their y = f(ā + b). For (N, C) inputs n = C; for
    (N, C, H, W) the root mean square is over channels and positions, as in :class:`~bnrepro.norm.LayerNorm`, with a
    gain and a bias for each channel. ``eps``, which keeps an example of zeros finite, is added to the mean square.

    Raises ``ValueError`` for an ``eps`` that is not positive and finite; the call for a wrong rank.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__(num_features, affine)
        check_eps(eps)
        self.eps = eps

    def forward(self, input: Tensor) -> Tensor:
        check_input(input)
        return self.scaled(F.rms_norm(input, input.shape[1:], eps=self.eps))
