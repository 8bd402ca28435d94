"""Builds normalisation layers from a configuration."""

from __future__ import annotations

from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from torch import nn

from bnrepro.errors import ConfigError


def make_norm(norm: dict[str, Any], num_features: int) -> nn.Module | None:
    """The normalisation layer that ``norm`` describes, for ``num_features`` units or channels; None for no layer.

    ``norm`` is a choice of the group ``configs/norm``: ``_target_`` names a class, which is called with
    ``num_features`` and every other key except ``name``. Raises :class:`ConfigError` if the layer cannot be built.
    """
    if norm.get("_target_") is None:
        return None
    arguments = {key: value for key, value in norm.items() if key != "name"}
    try:
        return instantiate(arguments, num_features)
    except (InstantiationException, TypeError, ValueError) as error:
        raise ConfigError(f"norm={norm.get('name', norm['_target_'])} cannot be built: {error}") from error


def layers_with_running_statistics(model: nn.Module) -> list[nn.Module]:
    """The layers of ``model`` that normalise by the mini-batch in training and by running statistics at inference."""
    return [module for module in model.modules() if getattr(module, "running_mean", None) is not None]
