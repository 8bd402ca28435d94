"""What a run's configuration must not say: one line for each fault, before anything starts."""

from __future__ import annotations

import math
import re
from typing import Any

from bnrepro.config.arms import contradictions
from bnrepro.config.schema import Config, InceptionConfig, MLPConfig, ModelConfig

CHOICES = {
    "profile": ("full", "quick", "smoke"),
    "placement": ("before", "after"),
    "model.activation": ("sigmoid", "relu"),
    "model.init": ("gaussian", "kaiming"),
    "data.name": ("mnist", "digits", "cifar10", "image_folder"),
    "data.unreadable": ("refuse", "skip"),
    "shuffle": ("examples", "batches"),
    "device": ("cpu", "cuda"),
    "precision": ("float32", "float64", "bfloat16"),
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
    "data.image_size": (8, 1024, True),
    "data.crop": (0, 1, False),
    "data.workers": (0, 256, True),
    "model.stem": (1, 4096, True),
    "model.pool_projection_4cd": (1, 4096, True),
    "model.per_activation_blocks": (0, math.inf, True),
    "batch_size": (1, math.inf, True),
    "steps": (0, math.inf, True),
    "seed": (0, 2**31 - 1, True),
    "threads": (1, 1024, True),
    "processes": (1, 4096, True),
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


def faults(config: Config, flat: dict[str, Any], norm: str) -> list[str]:
    """Everything that is wrong with ``config``. ``flat`` is the same by dotted keys, ``norm`` the normaliser's name."""
    found = []
    for key, choices in CHOICES.items():
        if key in flat and flat[key] not in choices:
            found.append(f"{key}={flat[key]}: choose one of {', '.join(choices)}")
    for key, (low, high, inclusive) in RANGES.items():
        value = flat.get(key)
        if value is None:
            continue
        if not math.isfinite(value) or value > high or value < low or (value == low and not inclusive):
            least = f"at least {low:g}" if inclusive else f"above {low:g}"
            most = "" if high == math.inf else f" and at most {high:g}"
            found.append(f"{key}={value}: must be finite, {least}{most}")
    for name in ("evaluation", "probes.activations"):
        if flat[f"{name}.min_interval"] > flat[f"{name}.max_interval"]:
            found.append(f"{name}.min_interval is larger than {name}.max_interval")
    if flat["probes.landscape.shortest"] >= flat["probes.landscape.longest"]:
        found.append("probes.landscape.shortest must be smaller than probes.landscape.longest")
    found += _widths(config.model) + _together(config)
    for key, name in (("experiment", config.experiment), ("norm.name", norm)):
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
            found.append(f"{key}={name!r}: letters, digits and . _ - only, it names files")
    if not isinstance(config.norm, dict) or not ("name" in config.norm or "_target_" in config.norm):
        found.append("norm: must be a group choice (norm=none, norm=batch, …) with a `name` or a `_target_`")
    elif config.arm is not None:
        found += contradictions(config.arm, flat, norm)
    return found


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


def _together(config: Config) -> list[str]:
    """What is wrong with how several processes share the training."""
    found = []
    if config.batch_size % config.processes:
        found.append(f"batch_size={config.batch_size}: {config.processes} processes cannot share it evenly")
    if config.sync_batch_norm and (config.device != "cuda" or config.processes == 1):
        found.append("sync_batch_norm=true needs several processes and device=cuda: torchrun … device=cuda")
    if config.processes > 1 and (config.probes.landscape.enabled or config.probes.shift.enabled):
        found.append("probes.landscape and probes.shift try training steps of their own: with one process only")
    if config.precision == "bfloat16" and (config.probes.landscape.enabled or config.probes.shift.enabled):
        found.append("probes.landscape and probes.shift compare gradients: precision=float32 or float64")
    return found
