"""A normaliser of your own: a torch module that is built with ``num_features`` and the other keys of its YAML file."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """Divides each example by the root mean square of its features; no mean is subtracted."""

    def __init__(self, num_features: int, eps: float) -> None:
        super().__init__()
        if eps <= 0:
            raise ValueError(f"eps={eps}: must be positive")
        self.eps = eps
        self.gain = nn.Parameter(torch.ones(num_features))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, features) or (batch, channels, height, width) → the same shape."""
        gain = self.gain if x.dim() == 2 else self.gain[:, None, None]
        return gain * x / (x.square().mean(dim=1, keepdim=True) + self.eps).sqrt()
