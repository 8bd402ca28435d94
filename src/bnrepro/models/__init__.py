"""The networks, and the one place that builds them from a configuration."""

from __future__ import annotations

import torch
from torch import nn

from bnrepro.config.schema import BNInceptionConfig, Config, InceptionConfig, MLPConfig
from bnrepro.errors import ConfigError
from bnrepro.models.bn_inception import BNInception
from bnrepro.models.inception import Inception
from bnrepro.models.mlp import MLP

__all__ = ["MLP", "BNInception", "Inception", "build_model", "memory_format", "parameter_dtype"]


def build_model(config: Config, example_shape: tuple[int, ...], classes: int) -> nn.Module:
    """The network of ``config`` for examples of ``example_shape``, with its seed's initial weights.

    Layers that two arms have in common start from the same weights: every layer draws from a generator of its own.
    """
    model, rest = config.model, (classes, config.seed)
    if isinstance(model, MLPConfig):
        return MLP(model, config.norm, config.placement, int(torch.Size(example_shape).numel()), *rest)
    if isinstance(model, InceptionConfig):
        return Inception(model, config.norm, config.placement, example_shape, *rest)
    if isinstance(model, BNInceptionConfig):
        return BNInception(model, config.norm, config.placement, example_shape, *rest)
    raise ConfigError(f"model={model.name}: no such network")


def memory_format(config: Config) -> torch.memory_format:
    """How the network of ``config`` wants its images in memory."""
    return torch.channels_last if getattr(config.model, "channels_last", False) else torch.contiguous_format


def parameter_dtype(config: Config) -> torch.dtype:
    """What the parameters and the images of ``config`` are kept in: bfloat16 is for the arithmetic between them."""
    return torch.float64 if config.precision == "float64" else torch.float32
