"""The checks that a configuration passes before anything starts: one line for each fault."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf

from bnrepro import store
from bnrepro.config.identity import norm_name
from bnrepro.config.schema import Config, InceptionConfig, MLPConfig, ModelConfig, walk
from bnrepro.errors import ConfigError
from bnrepro.store.record import flatten, unflatten


def validated(config: Config) -> Config:
    """``config`` itself, checked and in canonical form. Raises :class:`ConfigError` with one line per fault."""
    if found := faults(config):
        raise ConfigError("\n".join(found))
    if config.norm.get("_target_") is None:
        # Without a normaliser both placements are the same run.
        config.placement = "before"
    return config


def faults(config: Config) -> list[str]:
    """All faults of ``config``, one line each."""
    found = []
    for name, key, value in walk(config):
        if key.choices and value not in key.choices:
            found.append(f"{name}={value}: choose one of {', '.join(key.choices)}")
        if key.within is not None and value is not None and not key.within.holds(value):
            found.append(f"{name}={value}: must be finite, {key.within}")
    for name, schedule in (("evaluation", config.evaluation), ("probes.activations", config.probes.activations)):
        if schedule.min_interval > schedule.max_interval:
            found.append(f"{name}.min_interval is larger than {name}.max_interval")
    if config.probes.landscape.shortest >= config.probes.landscape.longest:
        found.append("probes.landscape.shortest must be smaller than probes.landscape.longest")
    found += _widths(config.model) + _together(config)
    norm = norm_name(config.norm)
    for name, value in (("experiment", config.experiment), ("norm.name", norm), ("arm", config.arm)):
        if value is not None and not re.fullmatch(r"[A-Za-z0-9_.-]+", value):
            found.append(f"{name}={value!r}: only letters, digits and . _ - since it names files and stands in tables")
    if not isinstance(config.norm, dict) or not ("name" in config.norm or "_target_" in config.norm):
        found.append("norm: must be a choice of the group (norm=none, norm=batch, …) with a `name` or a `_target_`")
    elif config.arm is not None:
        found += _contradictions(config, config.arm, norm)
    return found


def _widths(model: ModelConfig) -> list[str]:
    """Faults of the lists that set the depth and width of a network."""
    if isinstance(model, MLPConfig) and (not model.hidden or min(model.hidden) < 1):
        return [f"model.hidden={model.hidden}: one or more layer widths, each at least 1"]
    if isinstance(model, InceptionConfig):
        equal = len(model.units) == len(model.blocks) > 0
        if not equal or min([*model.units, *model.blocks]) < 1:
            return [
                f"model.units={model.units}, model.blocks={model.blocks}: two lists of equal length, with a "
                "width and a number of blocks for each resolution, each at least 1"
            ]
    return []


def _together(config: Config) -> list[str]:
    """Values that do not go together: processes, probes, precision."""
    found = []
    steps_tried = config.probes.landscape.enabled or config.probes.shift.enabled
    if config.batch_size % config.processes:
        found.append(f"batch_size={config.batch_size}: {config.processes} processes cannot share it evenly")
    if config.sync_batch_norm and (config.device != "cuda" or config.processes == 1):
        found.append("sync_batch_norm=true needs several processes and device=cuda: torchrun … device=cuda")
    if config.processes > 1 and steps_tried:
        found.append("probes.landscape and probes.shift try training steps of their own: with one process only")
    if config.precision == "bfloat16" and steps_tried:
        found.append("probes.landscape and probes.shift compare gradients: precision=float32 or float64")
    return found


def _contradictions(config: Config, arm: str, norm: str) -> list[str]:
    """Values of ``config`` that differ from those of its named arm. A user's own arm has none."""
    if not (store.configs_folder() / "arm" / f"{arm}.yaml").exists():
        return []
    values = {name: value for name, _, value in walk(config)} | {"norm": norm}
    wanted = {name: values.get(name) for name, declared in declares(arm).items() if values.get(name) != declared}
    found = [
        f"{name}={value} contradicts arm={arm}, which stands for {name}={declares(arm)[name]}: leave one of them out, "
        "or make an arm of your own"
        for name, value in wanted.items()
    ]
    return [*found, _own_arm(arm, wanted)] if found else []


def _own_arm(arm: str, wanted: Mapping[str, Any]) -> str:
    """How to make an arm of one's own that is ``arm`` with the ``wanted`` values: its file, and the call."""
    own = f"my_{arm}"
    changes = dict(wanted)
    other = f", override /norm: {changes.pop('norm')}" if "norm" in changes else ""
    lines = ["# @package _global_", f"defaults: [{arm}, _self_{other}]", f"arm: {own}"]
    for section, value in unflatten(changes).items():
        lines.append(OmegaConf.to_yaml({section: value}).rstrip())
    return "\n".join(
        [f"An arm of your own is a file my/arm/{own}.yaml:", *lines, f"and is chosen by --config-dir my arm={own}"]
    )


@functools.lru_cache(maxsize=64)
def declares(arm: str) -> dict[str, Any]:
    """The values that the file of ``arm`` sets, by dotted key, with those of the files it builds on.

    ``norm`` is the choice of that group.
    """
    tree = OmegaConf.to_container(OmegaConf.load(store.configs_folder() / "arm" / f"{arm}.yaml"))
    assert isinstance(tree, dict)
    values: dict[str, Any] = {}
    for entry in tree.pop("defaults", []):
        if isinstance(entry, dict):
            values |= {key.removeprefix("override /"): choice for key, choice in entry.items()}
        elif entry != "_self_":
            values |= declares(entry)
    return values | flatten(tree)
