"""The one place that builds a normalisation layer from a configuration."""

from __future__ import annotations

from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from torch import nn

from bnrepro.errors import ConfigError


def make_norm(norm: dict[str, Any], num_features: int) -> nn.Module | None:
    """The normalisation layer that ``norm`` describes, for ``num_features`` units or channels; None for none.

    ``norm`` is a group choice of ``configs/norm``: ``_target_`` names a class that is called with ``num_features``
    and every other key but ``name``. Raises :class:`ConfigError` if it cannot be built.
    """
    if norm.get("_target_") is None:
        return None
    arguments = {key: value for key, value in norm.items() if key != "name"}
    try:
        return instantiate(arguments, num_features)
    except (InstantiationException, TypeError, ValueError) as error:
        raise ConfigError(f"norm={norm.get('name', norm['_target_'])} cannot be built: {error}") from error


def has_running_statistics(module: nn.Module) -> bool:
    """Whether ``module`` normalises by the mini-batch in training and by running statistics at inference."""
    return getattr(module, "running_mean", None) is not None
