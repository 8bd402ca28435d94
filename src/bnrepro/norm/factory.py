"""Builds normalisation layers from a configuration."""

from __future__ import annotations

import functools
import types
import typing
from typing import Any

from hydra.utils import instantiate
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from bnrepro.errors import ConfigError
from bnrepro.norm.cause import cause
from bnrepro.norm.functional import check_eps, check_momentum

PLAIN = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", type(None): "null"}
"""The types of settings that are compared with what a class says it takes."""
TORCHS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
"""The library's normalisers, with ours that build on them: their constructors take any eps and momentum."""


def make_norm(norm: dict[str, Any], num_features: int) -> nn.Module | None:
    """The normalisation layer that ``norm`` describes, for ``num_features`` units or channels; None for no layer.

    ``norm`` is a choice of the group ``configs/norm``: ``_target_`` names a class of torch modules, which is called
    with ``num_features`` and every other key except ``name``, and checks them: it raises ``ValueError`` for a number
    out of its range. Raises :class:`ConfigError` if the layer cannot be built, with file and line in a user's own code.
    """
    if norm.get("_target_") is None:
        return None
    target, arguments = norm["_target_"], {key: value for key, value in norm.items() if key != "name"}
    try:
        # Looked at before it is called, since a configuration may name anything.
        call = instantiate({**arguments, "_partial_": True})
        made_by = call.func if isinstance(call, functools.partial) else call
        if isinstance(made_by, type) and not issubclass(made_by, nn.Module):
            raise TypeError(f"{target} is not derived from torch.nn.Module, so that nothing in it would be trained")
        _check_types(made_by, arguments)
        layer = call(num_features)
        if not isinstance(layer, nn.Module):
            raise TypeError(f"{target} makes no torch.nn.Module, but {type(layer).__name__}")
        if isinstance(layer, TORCHS):
            _check_numbers(layer)
    except Exception as error:  # whatever a user's own class may raise
        raise ConfigError(f"norm={norm.get('name', target)} cannot be built: {cause(error)}") from error
    return layer


def _check_types(made_by: Any, arguments: dict[str, Any]) -> None:
    """Raise ``TypeError`` for a value that is not of the type that the class or function ``made_by`` declares."""
    try:
        declared = typing.get_type_hints(made_by.__init__ if isinstance(made_by, type) else made_by)
    except Exception:  # names that only a type checker knows
        return
    for name, value in arguments.items():
        kind = declared.get(name)
        allowed = typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
        if not set(allowed) <= PLAIN.keys():
            continue
        fits = type(value) in allowed or (type(value) is int and float in allowed)
        if not fits and type(value) in PLAIN:
            raise TypeError(f"{name}={value!r} must be {' or '.join(PLAIN[each] for each in allowed)}")


def _check_numbers(layer: nn.Module) -> None:
    eps, momentum = getattr(layer, "eps", None), getattr(layer, "momentum", None)
    if eps is not None:
        check_eps(eps)
    if momentum is not None:
        check_momentum(momentum)


def layers_with_running_statistics(model: nn.Module) -> list[nn.Module]:
    """The layers of ``model`` that normalise by the mini-batch in training and by running statistics at inference."""
    return [module for module in model.modules() if getattr(module, "running_mean", None) is not None]
