"""A run's configuration: its validation, its identity (the run key) and its arm's label. Its schema: schema.py."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import json
import math
import re
from collections.abc import Iterable
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from bnrepro.arms import contradictions
from bnrepro.errors import ConfigError
from bnrepro.schema import Config, InceptionConfig, MLPConfig, ModelConfig

__all__ = [
    "CODE_EPOCH",
    "NOT_SCIENTIFIC",
    "Config",
    "arm_label",
    "flatten",
    "from_hydra",
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
    "data.root", "data.title",
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
    "model.per_activation_blocks": 0,  # a key of the Inception's alone: the others' runs have no trace of it either
}
"""Values at which a key does nothing: a run of which it is true leaves no trace of the key, as of a probe that is off,
so that a new key of this kind does not make other runs of those that are there. They are the schema's defaults."""
WITHOUT_MEANING = {"evaluation.test_examples": ("evaluation.whole_test",)}
"""Keys that mean nothing where another is neutral."""


# ---------------------------------------------------------------------------------------------- validation

CHOICES = {
    "profile": ("full", "quick", "smoke"),
    "placement": ("before", "after"),
    "model.activation": ("sigmoid", "relu"),
    "model.init": ("gaussian", "kaiming"),
    "data.name": ("mnist", "digits", "cifar10", "image_folder"),
    "shuffle": ("examples", "batches"),
    "device": ("cpu", "cuda"),
    "precision": ("float32", "float64"),
    "wandb": ("offline", "online", "disabled"),
}

# key → (low, high, low itself allowed). Non-finite values are refused everywhere.
RANGES: dict[str, tuple[float, float, bool]] = {
    "model.init_scale": (0, math.inf, False),
    "model.dropout": (0, 0.999, True),
    "data.threshold": (0, 1, True),
    "data.validation_examples": (1, math.inf, True),
    "data.train_examples": (1, math.inf, True),
    "optimizer.lr": (0, math.inf, False),
    "optimizer.momentum": (0, 0.9999, True),
    "optimizer.weight_decay": (0, math.inf, True),
    "optimizer.decay": (0, 1, False),
    "augmentation.shift": (0, 16, True),
    "augmentation.photometric": (0, 0.99, True),
    "data.enlarge": (0, 1024, True),
    "model.stem": (1, 4096, True),
    "model.pool_projection_4cd": (1, 4096, True),
    "model.per_activation_blocks": (0, math.inf, True),
    "batch_size": (1, math.inf, True),
    "steps": (0, math.inf, True),
    "seed": (0, 2**31 - 1, True),
    "threads": (1, 1024, True),
    "evaluation.growth": (0, 1, True),
    "evaluation.min_interval": (1, math.inf, True),
    "evaluation.max_interval": (1, math.inf, True),
    "evaluation.train_examples": (0, math.inf, True),
    "evaluation.test_examples": (0, math.inf, True),
    "evaluation.whole_test": (0, 10, True),
    "probes.activations.growth": (0, 1, True),
    "probes.activations.min_interval": (1, math.inf, True),
    "probes.activations.max_interval": (1, math.inf, True),
    "probes.activations.examples": (2, math.inf, True),
    "probes.activations.batch_every": (0, math.inf, True),
    "probes.activations.histograms": (0, 1000, True),
    "probes.landscape.points": (1, 1000, True),
    "probes.landscape.shortest": (0, math.inf, False),
    "probes.landscape.longest": (0, math.inf, False),
    "probes.landscape.lengths": (2, 1000, True),
    "probes.shift.points": (1, 1000, True),
    "checkpoint_every_s": (0, math.inf, True),
}


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
    flat = flatten(asdict(config))
    faults = []
    for key, choices in CHOICES.items():
        if key in flat and flat[key] not in choices:
            faults.append(f"{key}={flat[key]}: choose one of {', '.join(choices)}")
    for key, (low, high, inclusive) in RANGES.items():
        value = flat.get(key)
        if value is None:
            continue
        if not math.isfinite(value) or value > high or value < low or (value == low and not inclusive):
            least = f"at least {low:g}" if inclusive else f"above {low:g}"
            most = "" if high == math.inf else f" and at most {high:g}"
            faults.append(f"{key}={value}: must be finite, {least}{most}")
    for name in ("evaluation", "probes.activations"):
        if flat[f"{name}.min_interval"] > flat[f"{name}.max_interval"]:
            faults.append(f"{name}.min_interval is larger than {name}.max_interval")
    if flat["probes.landscape.shortest"] >= flat["probes.landscape.longest"]:
        faults.append("probes.landscape.shortest must be smaller than probes.landscape.longest")
    faults += _widths(config.model)
    for key, name in (("experiment", config.experiment), ("norm.name", norm_name(config.norm))):
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
            faults.append(f"{key}={name!r}: letters, digits and . _ - only, it names files")
    if not isinstance(config.norm, dict) or not ("name" in config.norm or "_target_" in config.norm):
        faults.append("norm: must be a group choice (norm=none, norm=batch, …) with a `name` or a `_target_`")
    elif config.arm is not None:
        faults += contradictions(config.arm, flat, norm_name(config.norm))
    if faults:
        raise ConfigError("\n".join(faults))
    if config.norm.get("_target_") is None:
        # Without a normaliser there is nothing to place: both placements are one and the same run.
        config.placement = "before"
    return config


def _widths(model: ModelConfig) -> list[str]:
    """What is wrong with the lists that give a network its depth and width."""
    if isinstance(model, MLPConfig) and (not model.hidden or min(model.hidden) < 1):
        return [f"model.hidden={model.hidden}: a list of one or more layer widths, each at least 1"]
    if isinstance(model, InceptionConfig):
        equal = len(model.units) == len(model.blocks) > 0
        if not equal or min([*model.units, *model.blocks]) < 1:
            return [
                f"model.units={model.units}, model.blocks={model.blocks}: two lists of one length, a width and a "
                "number of blocks for each resolution, each at least 1"
            ]
    return []


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
    """The run's identity: 16 hex digits over its scientific configuration, its data and the code epoch."""
    identity = {
        "epoch": CODE_EPOCH,
        "config": scientific(config),
        "data": fingerprint,
        "source": _own_source(config.norm),
    }
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


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
