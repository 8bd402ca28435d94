"""What a normaliser may ask of the network around it, beyond the outputs of the layer before it."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from bnrepro.norm.functional import per_channel


class Normaliser(nn.Module):
    """A normaliser that asks for more than its input. One that does not may be any module with ``forward(x)``.

    A subclass overrides what it needs, and leaves the rest as it is.
    """

    reads_weights: ClassVar[bool] = False
    """Whether ``forward`` and ``start`` take the weights of the layer before, (C, inputs) or (C, inputs, h, w), as a
    second argument. Such a normaliser stands directly behind that layer: ``placement=before``, one unit a channel."""

    def in_place_of(self, activation: nn.Module) -> nn.Module:
        """The module that takes the place of the network's ``activation``; by default ``activation`` itself."""
        return activation

    @property
    def starts_from_data(self) -> bool:
        """Whether :meth:`start` is to be called."""
        return False

    def start(self, x: Tensor, *weights: Tensor) -> None:
        """Set the initial parameters from what ``forward`` gets of the first mini-batch; called once, without gradient.

        The normalisers before this one have started already. A run that goes on from a checkpoint has its parameters
        from there.
        """


class Affine(Normaliser):
    """A normaliser with a scale γ (``weight``) and a shift β (``bias``), each (C,), learned unless ``affine`` is False.

    They start as 1 and 0. Raises ``ValueError`` for no features.
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, num_features: int, affine: bool = True) -> None:
        super().__init__()
        if num_features < 1:
            raise ValueError(f"num_features must be at least 1, got {num_features}")
        self.num_features = num_features
        self.register_parameter("weight", nn.Parameter(torch.ones(num_features)) if affine else None)
        self.register_parameter("bias", nn.Parameter(torch.zeros(num_features)) if affine else None)

    def scaled(self, x: Tensor) -> Tensor:
        """γ x + β, for x of (N, C) or (N, C, …)."""
        if self.weight is None or self.bias is None:
            return x
        return torch.addcmul(per_channel(self.bias, x), x, per_channel(self.weight, x))
