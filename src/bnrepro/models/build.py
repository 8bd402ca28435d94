"""The one place that builds a network from a configuration: ``model.name`` names a module of this package."""

from __future__ import annotations

import importlib

import torch
from torch import nn

from bnrepro.config.schema import Config


def build_model(config: Config, example_shape: tuple[int, ...], classes: int) -> nn.Module:
    """The network of ``config`` for examples of ``example_shape``, with its seed's initial weights.

    Layers that two arms have in common start from the same weights: every layer draws from a generator of its own.
    """
    network = importlib.import_module(f"bnrepro.models.{config.model.name}").NETWORK
    return network(config.model, config.norm, config.placement, example_shape, classes, config.seed)


def memory_format(config: Config) -> torch.memory_format:
    """How the network of ``config`` wants its images in memory."""
    return torch.channels_last if getattr(config.model, "channels_last", False) else torch.contiguous_format


def parameter_dtype(config: Config) -> torch.dtype:
    """What the parameters and the images of ``config`` are kept in: bfloat16 is for the arithmetic between them."""
    return torch.float64 if config.precision == "float64" else torch.float32
