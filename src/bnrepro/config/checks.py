"""The checks that a configuration passes before anything starts: one line for each fault."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from omegaconf import BooleanNode, OmegaConf
from omegaconf.errors import ValidationError

from bnrepro import store
from bnrepro.config.identity import norm_name
from bnrepro.config.schema import Config, InceptionConfig, MLPConfig, ModelConfig, default_of, walk
from bnrepro.errors import ConfigError
from bnrepro.store.record import flatten, unflatten


def validated(config: Config) -> Config:
    """``config`` itself, checked and in canonical form. Raises :class:`ConfigError` with one line per fault."""
    for section, name, _, value in switches(config):
        setattr(section, name, _read_switch(value))
    if found := faults(config):
        raise ConfigError("\n".join(found))
    if config.norm.get("_target_") is None:
        # Without a normaliser both placements are the same run.
        config.placement = "before"
    return config


def faults(config: Config) -> list[str]:
    """All faults of ``config``, one line each."""
    found = [
        f"{dotted}={value}: must be true or false"
        for _, _, dotted, value in switches(config)
        if not isinstance(value, bool)
    ]
    for name, key, value in walk(config):
        if key.choices and value not in key.choices:
            found.append(f"{name}={value}: choose one of {', '.join(key.choices)}")
        if key.within is not None and value is not None and not key.within.holds(value):
            found.append(f"{name}={value}: must be finite, {key.within}")
    schedules = {
        "evaluation": config.evaluation,
        "probes.activations": config.probes.activations,
        "probes.summary": config.probes.summary,
    }
    for name, schedule in schedules.items():
        if schedule.min_interval > schedule.max_interval:
            found.append(f"{name}.min_interval is larger than {name}.max_interval")
    if config.probes.landscape.shortest >= config.probes.landscape.longest:
        found.append("probes.landscape.shortest must be smaller than probes.landscape.longest")
    found += _widths(config.model) + _together(config)
    names = {"experiment": config.experiment} | ({} if config.arm is None else {"arm": config.arm})
    if wrong := _normaliser(config.norm):
        found += wrong
    else:
        names["norm.name"] = norm_name(config.norm)
        if config.arm is not None:
            found += _contradictions(config, config.arm, names["norm.name"])
    for name, value in names.items():
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", value):
            found.append(f"{name}={value!r}: only letters, digits and . _ - since it names files and stands in tables")
    return found


def switches(node: Any, prefix: str = "") -> Iterator[tuple[Any, str, str, Any]]:
    """Section, name, dotted name and value of every key that is true or false."""
    for place in fields(node):
        value = getattr(node, place.name)
        if is_dataclass(value):
            yield from switches(value, f"{prefix}{place.name}.")
        elif isinstance(default_of(place), bool):
            yield node, place.name, f"{prefix}{place.name}", value


def _read_switch(value: Any) -> Any:
    """True or false from 1, 0 and the words that OmegaConf takes for them; anything else as it is."""
    if isinstance(value, str) or (isinstance(value, int) and value in (0, 1)):
        try:
            return BooleanNode().validate_and_convert(value)
        except ValidationError:
            return value
    return value


def _normaliser(norm: Any) -> list[str]:
    """Faults of the open section ``norm`` that show without its class, which ``bnrepro.norm`` asks for the others."""
    if not isinstance(norm, dict) or not ("name" in norm or "_target_" in norm):
        return [f"norm={norm}: must be a choice of the group (norm=none, norm=batch, …) with a `name` or a `_target_`"]
    target = norm.get("_target_")
    settings = flatten({key: value for key, value in norm.items() if key not in ("name", "_target_")})
    if target is None and not settings and norm_name(norm) != "none":
        return [f"norm={norm_name(norm)}: `_target_` is missing, the class that normalises; only none has none"]
    if target is None and settings:
        return [f"norm: {', '.join(settings)} without a class that takes it: `_target_` names one, as in mine.MyNorm"]
    if target is not None and not (isinstance(target, str) and re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", target)):
        return [f"norm._target_={target}: must name a class by its module, as in mine.MyNorm"]
    # NaN is the only value that differs from itself.
    return [f"norm.{name}={value}: must be a number" for name, value in settings.items() if value != value]


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
    if config.batch_size % max(config.processes, 1):
        found.append(f"batch_size={config.batch_size}: {config.processes} processes cannot share it evenly")
    if config.sync_batch_norm and (config.device != "cuda" or config.processes == 1):
        found.append("sync_batch_norm=true needs several processes and device=cuda: torchrun … device=cuda")
    if config.processes > 1 and (steps_tried or config.probes.summary.enabled):
        found.append("probes.landscape, probes.shift and probes.summary compute gradients: with one process only")
    if not re.fullmatch(r"single|fleet-[1-9]\d{0,3}", config.engine):
        found.append(f"engine={config.engine}: single, or fleet-N for a block of N places, as in fleet-4")
    elif config.engine != "single" and (reason := unstackable(config)):
        found.append(f"engine={config.engine}: {reason}")
    if config.precision == "bfloat16" and steps_tried:
        found.append("probes.landscape and probes.shift compare gradients: precision=float32 or float64")
    return found


def unstackable(config: Config) -> str:
    """Why a run cannot share a fleet, as far as its configuration tells; empty if it can."""
    if config.processes > 1:
        return "several processes train this network"
    if config.data.stream:
        return "its images are read from disk while it trains"
    if config.precision == "bfloat16":
        return "fleets compute in float32 and float64"
    if config.threads > 1 and config.device == "cpu":
        return "several threads divide a stack between them as they do not divide a run"
    return ""


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
