"""PyTorch's batch normalisation kernel as one class for fully connected and convolutional layers."""

from __future__ import annotations

from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm


class BatchNorm(_BatchNorm):
    """Algorithm 1 over the features of (N, C) inputs, or the channels of (N, C, L) and (N, C, H, W) inputs (§3.2).

    Parameters, buffers and kernel are those of ``nn.BatchNorm1d`` and ``nn.BatchNorm2d``. Raises ``ValueError`` for any
    other rank.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() not in (2, 3, 4):
            raise ValueError(f"expected (N, C), (N, C, L) or (N, C, H, W), got shape {tuple(input.shape)}")
