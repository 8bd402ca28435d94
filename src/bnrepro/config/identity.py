"""A run's configuration: from Hydra's tree, its identity (the run key) and its arm's label.

Its schema: schema.py; what is refused: validation.py.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import json
from collections.abc import Iterable
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from bnrepro.config.checks import faults
from bnrepro.config.schema import Config
from bnrepro.errors import ConfigError

__all__ = [
    "CODE_EPOCH",
    "NOT_SCIENTIFIC",
    "Config",
    "arm_label",
    "flatten",
    "from_hydra",
    "identity",
    "norm_name",
    "run_key",
    "scientific",
    "unflatten",
    "unknown_key",
    "validated",
]

CODE_EPOCH = 1
"""Raised by hand when a change of code changes results: runs of an older epoch are then no longer reused."""

NOT_SCIENTIFIC = (
    "experiment", "profile", "profiles", "treatment", "arm", "wandb", "checkpoint_every_s", "keep_weights",
    "data.root", "data.title", "data.workers",
)  # fmt: skip
"""Keys that cannot change a run's numbers, and so are no part of its identity: an arm is a name for values that are,
and an image folder is known by its fingerprint, wherever it lies."""

NEUTRAL: dict[str, Any] = {
    "optimizer.decay": 1.0,
    "augmentation.flip": False,
    "augmentation.shift": 0,
    "augmentation.photometric": 0.0,
    "shuffle": "examples",
    "data.standardize": False,
    "data.enlarge": 0,
    "evaluation.test_examples": 0,
    "data.unreadable": "refuse",
    "data.stream": False,
    "processes": 1,
    "sync_batch_norm": False,
    "continue_from": None,
    "model.per_activation_blocks": 0,  # a key of the Inception's alone: the others' runs have no trace of it either
}
"""Values at which a key does nothing: a run of which it is true leaves no trace of the key, as of a probe that is off,
so that a new key of this kind does not make other runs of those that are there. They are the schema's defaults."""
WITHOUT_MEANING = {
    "evaluation.test_examples": ("evaluation.whole_test",),
    "data.stream": ("data.image_size", "data.crop"),
}
"""Keys that mean nothing where another is neutral."""


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one flat mapping with dotted keys; lists stay values."""
    if is_dataclass(tree) and not isinstance(tree, type):
        tree = asdict(tree)
    assert isinstance(tree, dict)
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def unflatten(flat: dict[str, Any]) -> dict[str, Any]:
    """The inverse of :func:`flatten`."""
    tree: dict[str, Any] = {}
    for dotted, value in flat.items():
        *parents, leaf = dotted.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return tree


def from_hydra(cfg: DictConfig) -> Config:
    """The composed configuration as a validated :class:`Config`.

    Raises :class:`ConfigError` with one line per fault: a missing, mistyped, out-of-range or unknown value.
    """
    tree = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    try:
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), tree))
        given = OmegaConf.to_container(tree)
    except (ConfigAttributeError, ConfigKeyError) as error:
        key = str(error.full_key)
        raise unknown_key(key, flatten(OmegaConf.to_container(tree)).keys() - {key}) from None
    except OmegaConfBaseException as error:
        key = f"{error.full_key}: " if getattr(error, "full_key", None) else ""
        raise ConfigError(key + str(error).splitlines()[0]) from None
    assert isinstance(config, Config)
    assert isinstance(given, dict)
    # A key appended with + gets past the schema's own check.
    for key in flatten(given).keys() - flatten(config).keys():
        raise unknown_key(key, flatten(config).keys())
    return validated(config)


def unknown_key(key: str, valid: Iterable[str]) -> ConfigError:
    """The error for a key that is not in the schema, with those that its user may have meant."""
    valid = sorted(name for name in valid if not name.startswith("profiles"))
    leaf = key.rpartition(".")[2]
    near = [name for name in valid if name.rpartition(".")[2] == leaf] or difflib.get_close_matches(key, valid, 3)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return ConfigError(f"unknown key {key}.{hint} Valid keys: {', '.join(valid)}")


def validated(config: Config) -> Config:
    """``config`` itself, canonical and checked; raises :class:`ConfigError`."""
    found = faults(config, flatten(asdict(config)), norm_name(config.norm))
    if found:
        raise ConfigError("\n".join(found))
    if config.norm.get("_target_") is None:
        # Without a normaliser there is nothing to place: both placements are one and the same run.
        config.placement = "before"
    return config


# ------------------------------------------------------------------------------------------------ identity


def norm_name(norm: Any) -> str:
    """``norm.name``, or the class's own name where a user's file gives none."""
    if not isinstance(norm, dict):
        return "?"
    return str(norm.get("name") or str(norm.get("_target_", "?")).rpartition(".")[2])


def arm_label(config: Config) -> str:
    """What the tables and legends call this run's arm: its name, or from the resolved configuration ``batch-after``."""
    if config.arm is not None:
        return config.arm
    name = norm_name(config.norm)
    return name if config.placement == "before" else f"{name}-{config.placement}"


def scientific(config: Config) -> dict[str, Any]:
    """Everything that may change a number of the run, as plain nested data with defaults included.

    A probe that is off leaves no trace in a run, and so neither do its settings here; nor does a key that does nothing.
    """
    tree = asdict(config)
    tree["probes"] = {name: probe for name, probe in tree["probes"].items() if probe["enabled"]}
    idle = [name for name, neutral in NEUTRAL.items() if _get(tree, name) == neutral]
    for key in (*NOT_SCIENTIFIC, *idle, *(also for name in idle for also in WITHOUT_MEANING.get(name, ()))):
        _drop(tree, key)
    return tree


def _get(tree: dict[str, Any], dotted: str) -> Any:
    *sections, leaf = dotted.split(".")
    for section in sections:
        tree = tree[section]
    return tree.get(leaf)


def _drop(tree: dict[str, Any], dotted: str) -> None:
    parent, _, leaf = dotted.rpartition(".")
    node = _get(tree, parent) if parent else tree
    node.pop(leaf, None)
    if parent and not node and parent != "probes":
        tree.pop(parent, None)


def run_key(config: Config, fingerprint: str) -> str:
    """16 hex digits over the run's :func:`identity`."""
    text = json.dumps(identity(config, fingerprint), sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def identity(config: Config, fingerprint: str) -> dict[str, Any]:
    """What makes a run the run it is: its scientific configuration, its data, the code epoch, and the source of a
    normaliser of the user's."""
    return {
        "epoch": CODE_EPOCH,
        "config": scientific(config),
        "data": fingerprint,
        "source": _own_source(config.norm),
    }


def _own_source(norm: dict[str, Any]) -> str | None:
    """The source of a normaliser that is neither ours nor torch's: editing it makes a new run."""
    target = norm.get("_target_")
    if target is None or target.partition(".")[0] in ("bnrepro", "torch"):
        return None
    module = target.rpartition(".")[0]
    while module:
        try:
            spec = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            spec = None
        if spec is not None and spec.origin is not None:
            return hashlib.blake2b(Path(spec.origin).read_bytes(), digest_size=8).hexdigest()
        module = module.rpartition(".")[0]
    raise ConfigError(f"norm._target_={target}: no such class; is its folder on PYTHONPATH?")
