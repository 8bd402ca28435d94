"""Builds a network from a configuration: ``model.name`` names a module of this package, which holds its ``NETWORK``."""

from __future__ import annotations

import importlib

import torch
from torch import nn

from bnrepro.config.schema import Config
from bnrepro.models.blocks import Recipe


def build_model(config: Config, example_shape: tuple[int, ...], classes: int) -> nn.Module:
    """The network of ``config`` for examples of ``example_shape``, with the initial weights of its seed.

    Every layer draws from its own generator, so the layers that two arms have in common start from the same weights.
    """
    network = importlib.import_module(f"bnrepro.models.{config.model.name}").NETWORK
    return network(Recipe(config.model, config.norm, config.placement, config.seed), example_shape, classes)


def memory_format(config: Config) -> torch.memory_format:
    """The memory format of the images that the network of ``config`` takes."""
    return torch.channels_last if getattr(config.model, "channels_last", False) else torch.contiguous_format


def parameter_dtype(config: Config) -> torch.dtype:
    """The type of the parameters and the images: bfloat16 is used only for the arithmetic between them."""
    return torch.float64 if config.precision == "float64" else torch.float32
