"""The schema of a run's configuration, its validation, its identity (the run key) and its arm's label.

Hydra composes ``configs/`` into these dataclasses, so that an unknown key or a wrong type is refused before
anything starts. ``norm`` alone is an open node: a user's own normaliser is a YAML file with ``_target_``.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import json
import math
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from bnrepro.errors import ConfigError

CODE_EPOCH = 1
"""Raised by hand when a change of code changes results: runs of an older epoch are then no longer reused."""

NOT_SCIENTIFIC = ("experiment", "profile", "profiles", "treatment", "wandb", "checkpoint_every_s", "keep_weights")
"""Keys that cannot change a run's numbers, and so are no part of its identity."""


@dataclass
class ModelConfig:
    """What every model has. Subclasses add their own keys; ``name`` picks the builder in ``bnrepro.models``."""

    name: str = MISSING
    activation: str = "sigmoid"
    init: str = "gaussian"
    init_scale: float = 1.0


@dataclass
class MLPConfig(ModelConfig):
    name: str = "mlp"
    hidden: list[int] = field(default_factory=lambda: [100, 100, 100])
    dropout: float = 0.0


@dataclass
class DataConfig:
    name: str = MISSING
    threshold: float | None = None
    validation_examples: int = 5000
    train_examples: int | None = None


@dataclass
class OptimizerConfig:
    lr: float = MISSING
    momentum: float = 0.0
    weight_decay: float = 0.0


@dataclass
class ScheduleConfig:
    """Points of training, dense at first: the interval after step t is growth·t, kept within [min, max]."""

    growth: float = MISSING
    min_interval: int = MISSING
    max_interval: int = MISSING


@dataclass
class EvaluationConfig(ScheduleConfig):
    train_examples: int = 0


@dataclass
class ActivationProbeConfig(ScheduleConfig):
    enabled: bool = False
    examples: int = 1000
    batch_every: int = 4
    histograms: int = 5


@dataclass
class ProbesConfig:
    activations: ActivationProbeConfig = field(default_factory=ActivationProbeConfig)


@dataclass
class Config:
    """One training run. Every key is explained where its default stands: ``configs/train.yaml``."""

    experiment: str = MISSING
    profile: str = "full"
    profiles: dict[str, Any] = field(default_factory=dict)
    treatment: str = "batch"
    model: ModelConfig = MISSING
    norm: Any = MISSING
    placement: str = "before"
    data: DataConfig = MISSING
    optimizer: OptimizerConfig = MISSING
    batch_size: int = MISSING
    steps: int = MISSING
    seed: int = MISSING
    evaluation: EvaluationConfig = MISSING
    probes: ProbesConfig = MISSING
    threads: int = 1
    device: str = "cpu"
    precision: str = "float32"
    checkpoint_every_s: float = 15.0
    keep_weights: bool = False
    wandb: str = "offline"


def register_schema() -> None:
    """Make the dataclasses known to Hydra, as ``schema`` groups that the YAML files build on."""
    store = ConfigStore.instance()
    store.store(group="schema", name="train", node=Config, package="_global_")
    store.store(group="schema/model", name="mlp", node=MLPConfig)
    # The little arithmetic that sweeps over the batch size need: as many examples in all, and a rate for each size.
    OmegaConf.register_new_resolver("quotient", lambda total, part: max(total // part, 1), replace=True)
    OmegaConf.register_new_resolver(
        "root_scaled", lambda value, size, at: float(f"{value * math.sqrt(size / at):.3g}"), replace=True
    )


# ---------------------------------------------------------------------------------------------- validation

CHOICES = {
    "profile": ("full", "quick", "smoke"),
    "placement": ("before", "after"),
    "model.activation": ("sigmoid", "relu"),
    "model.init": ("gaussian", "kaiming"),
    "data.name": ("mnist", "digits"),
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
    "batch_size": (1, math.inf, True),
    "steps": (0, math.inf, True),
    "seed": (0, 2**31 - 1, True),
    "threads": (1, 1024, True),
    "evaluation.growth": (0, 1, True),
    "evaluation.min_interval": (1, math.inf, True),
    "evaluation.max_interval": (1, math.inf, True),
    "evaluation.train_examples": (0, math.inf, True),
    "probes.activations.growth": (0, 1, True),
    "probes.activations.min_interval": (1, math.inf, True),
    "probes.activations.max_interval": (1, math.inf, True),
    "probes.activations.examples": (2, math.inf, True),
    "probes.activations.batch_every": (0, math.inf, True),
    "probes.activations.histograms": (0, 1000, True),
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
    if isinstance(config.model, MLPConfig) and (not config.model.hidden or min(config.model.hidden) < 1):
        faults.append(f"model.hidden={config.model.hidden}: a list of one or more layer widths, each at least 1")
    if not isinstance(config.norm, dict) or not ("name" in config.norm or "_target_" in config.norm):
        faults.append("norm: must be a group choice (norm=none, norm=batch, …) with a `name` or a `_target_`")
    for key, name in (("experiment", config.experiment), ("norm.name", norm_name(config.norm))):
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
            faults.append(f"{key}={name!r}: letters, digits and . _ - only, it names files")
    if faults:
        raise ConfigError("\n".join(faults))
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
    """What the tables and legends call this run's arm, from the resolved configuration: ``batch-after``."""
    name = norm_name(config.norm)
    return name if config.placement == "before" else f"{name}-{config.placement}"


def scientific(config: Config) -> dict[str, Any]:
    """Everything that may change a number of the run, as plain nested data with defaults included.

    A probe that is off leaves no trace in a run, and so neither do its settings here.
    """
    tree = asdict(config)
    tree["probes"] = {name: probe for name, probe in tree["probes"].items() if probe["enabled"]}
    return {key: value for key, value in tree.items() if key not in NOT_SCIENTIFIC}


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
