"""Builds a network from a configuration: ``model.name`` names a module of this package, which holds its ``NETWORK``."""

from __future__ import annotations

import importlib
from dataclasses import replace

import torch
from torch import nn

from bnrepro.config.randomness import derive_seed
from bnrepro.config.schema import Config
from bnrepro.errors import ConfigError
from bnrepro.models.blocks import Recipe
from bnrepro.models.memory import enough_memory, refuse_beyond_memory


def build_model(config: Config, example_shape: tuple[int, ...], classes: int) -> nn.Module:
    """The network of ``config`` for examples of ``example_shape``, with the initial weights of its seed.

    Every layer draws from its own generator, so the layers that two arms have in common start from the same weights. A
    user's own normaliser draws from torch's, which is seeded for it and then as before. Raises :class:`ConfigError` if
    the network cannot be built.
    """
    if classes < 2:
        raise ConfigError(f"the data has {classes} class: there is nothing to tell apart, so it takes at least two")
    network = importlib.import_module(f"bnrepro.models.{config.model.name}").NETWORK
    recipe = Recipe(config.model, config.norm, config.placement, config.seed)
    with torch.random.fork_rng(devices=()), enough_memory(config):
        torch.default_generator.manual_seed(derive_seed(config.seed, "norm"))
        try:
            with torch.device("meta"):  # sizes alone: no memory, no numbers
                refuse_beyond_memory(config, network(replace(recipe, norm={}), example_shape, classes))
            return network(recipe, example_shape, classes)
        except (TypeError, OverflowError) as error:  # a size beyond 64 bits
            raise ConfigError(f"model={config.model.name} cannot be built: {str(error).splitlines()[0]}") from error


def memory_format(config: Config) -> torch.memory_format:
    """The memory format of the images that the network of ``config`` takes."""
    return torch.channels_last if getattr(config.model, "channels_last", False) else torch.contiguous_format


def parameter_dtype(config: Config) -> torch.dtype:
    """The type of the parameters and the images: bfloat16 is used only for the arithmetic between them."""
    return torch.float64 if config.precision == "float64" else torch.float32
