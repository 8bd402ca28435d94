"""The networks, and the one place that builds them from a configuration."""

from __future__ import annotations

import torch
from torch import nn

from bnrepro.config import Config, MLPConfig
from bnrepro.models.mlp import MLP

__all__ = ["MLP", "build_model"]


def build_model(config: Config, example_shape: tuple[int, ...], classes: int) -> nn.Module:
    """The network of ``config`` for examples of ``example_shape``, with its seed's initial weights.

    Layers that two arms have in common start from the same weights: every layer draws from a generator of its own.
    """
    assert isinstance(config.model, MLPConfig)
    features = int(torch.Size(example_shape).numel())
    return MLP(config.model, config.norm, config.placement, features, classes, config.seed)
