"""The identity of a run: its scientific configuration, its data, the code epoch and a user's own normaliser."""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from bnrepro.config.schema import Config, Key, default_of, key_of
from bnrepro.errors import ConfigError

CODE_EPOCH = 1
"""Increase it when a change of code changes results: runs of an older epoch are then no longer reused."""
OURS = ("bnrepro", "torch")
"""Packages whose source is not part of a run's identity: the code epoch and the recorded versions cover them."""


def norm_name(norm: Any) -> str:
    """``norm.name``, or the name of the class where a user's file gives none."""
    if not isinstance(norm, dict):
        return "?"
    return str(norm.get("name") or str(norm.get("_target_", "?")).rpartition(".")[2])


def arm_label(config: Config) -> str:
    """The run's arm in tables and legends: ``config.arm``, or the normaliser and its placement, as ``batch-after``."""
    if config.arm is not None:
        return config.arm
    name = norm_name(config.norm)
    return name if config.placement == "before" else f"{name}-{config.placement}"


def scientific(node: Any) -> dict[str, Any]:
    """All keys of a configuration that may change a number of its run, as nested data, defaults included.

    Keys that are not scientific, and keys that do nothing in this run, are left out: see
    :class:`~bnrepro.config.schema.Key`.
    """
    keys = {place.name: key_of(place) for place in fields(node)}
    silent = {
        place.name for place in fields(node)
        if keys[place.name].traceless and getattr(node, place.name) == default_of(place)
    }  # fmt: skip
    tree: dict[str, Any] = {}
    for name, key in keys.items():
        value = getattr(node, name)
        if not key.scientific or name in silent or key.with_key in silent:
            continue
        if is_dataclass(value):
            if key.switched and not getattr(value, key.switched):
                continue
            section = scientific(value)
            # A section with only traceless keys leaves no trace.
            if section or not all(key_of(place).traceless for place in fields(value)):
                tree[name] = section
        else:
            tree[name] = copy.deepcopy(value)
    return tree


def is_scientific(dotted: str) -> bool:
    """Whether the top-level part of a dotted key can change a number of a run; an unknown key can."""
    keys = {place.name: key_of(place) for place in fields(Config)}
    return keys.get(dotted.partition(".")[0], Key()).scientific


def run_key(config: Config, fingerprint: str) -> str:
    """16 hex digits over the run's :func:`identity`."""
    text = json.dumps(identity(config, fingerprint), sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def identity(config: Config, fingerprint: str) -> dict[str, Any]:
    """Code epoch, scientific configuration, ``fingerprint`` of the data and source of a user's normaliser."""
    return {
        "epoch": CODE_EPOCH,
        "config": scientific(config),
        "data": fingerprint,
        "source": source_of(config.norm),
    }


def is_own(norm: dict[str, Any]) -> bool:
    """Whether the normaliser is a user's own, neither ours nor torch's."""
    target = norm.get("_target_")
    return target is not None and str(target).partition(".")[0] not in OURS


def source_of(norm: dict[str, Any]) -> str | None:
    """A digest of the source of a user's normaliser, so that editing it makes a new run; None for ours and torch's."""
    if not is_own(norm):
        return None
    target = str(norm["_target_"])
    module = target.rpartition(".")[0]
    while module:
        try:
            spec = importlib.util.find_spec(module)
        except Exception:  # it runs the packages around the module; the layer's own message tells what is wrong there
            spec = None
        if spec is not None and spec.has_location and spec.origin is not None:
            return hashlib.blake2b(Path(spec.origin).read_bytes(), digest_size=8).hexdigest()
        module = module.rpartition(".")[0]
    raise ConfigError(f"norm._target_={target}: no source file; is its folder on PYTHONPATH, or --config-dir?")
