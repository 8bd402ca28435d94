"""A validated :class:`~bnrepro.config.schema.Config`, from what Hydra composed or from the record of a run."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from bnrepro import store
from bnrepro.config import launch
from bnrepro.config.checks import validated
from bnrepro.config.columns import recorded_keys
from bnrepro.config.schema import MODELS, Config
from bnrepro.errors import ConfigError
from bnrepro.store.record import flatten

RECORDED_TARGET = re.compile(r"(bnrepro\.norm(\.[a-z_]+)?|torch\.nn)\.[A-Z]\w*")
"""The normalisers of a record that are run: classes of ours and of torch. A table must not run any other code."""
OFF = {"enabled": False, "growth": 1.0, "min_interval": 1, "max_interval": 1}
"""The activation probe of a record without one: off, so that its required settings do not matter."""


def register_schema() -> None:
    """Register the dataclasses with Hydra as ``schema`` groups, on which the YAML files build."""
    schemas = ConfigStore.instance()
    schemas.store(group="schema", name="train", node=Config, package="_global_")
    for name, node in MODELS.items():
        schemas.store(group="schema/model", name=name, node=node)
    # Below the project's outputs wherever the script is called.
    OmegaConf.register_new_resolver("outputs", lambda: str(store.outputs_folder()), replace=True)
    OmegaConf.register_new_resolver("choices", _choices, replace=True)
    # Sweeps over the batch size compute from it the steps of a fixed number of examples, and the learning rate.
    OmegaConf.register_new_resolver("quotient", lambda total, part: max(total // part, 1), replace=True)
    OmegaConf.register_new_resolver(
        "root_scaled", lambda value, size, at: float(f"{value * math.sqrt(size / at):.3g}"), replace=True
    )
    # Sweeps with a grid for each activation go over the places of its values; those with networks of several depths.
    OmegaConf.register_new_resolver("at", lambda values, place: values[place], replace=True)
    OmegaConf.register_new_resolver("layers", lambda depth, width: [width] * depth, replace=True)
    OmegaConf.register_new_resolver("started", launch.processes, replace=True)


def _choices(group: str) -> str:
    """The line of a group in ``--help``: its name and choices."""
    return f"{group}: {', '.join(GlobalHydra.instance().config_loader().get_group_options(group))}\n"


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
    # The schema does not refuse a key appended with +.
    for key in flatten(given).keys() - flatten(config).keys():
        raise unknown_key(key, flatten(config).keys())
    return validated(config)


def from_record(experiment: str, recorded: dict[str, Any]) -> Config:
    """The configuration of a run from the scientific part in its record.

    A record is data, maybe a stranger's: nothing in it is looked up or called, except the class of a normaliser of ours
    or torch's. Raises :class:`ConfigError` if it is not the configuration of a run, or holds what would be.
    """
    try:
        if foreign := next(_foreign(recorded), None):
            raise ValueError(f"it holds {foreign}")
        if not isinstance(recorded["norm"], dict):
            raise ValueError("its norm has no entries")
        model = MODELS[recorded["model"]["name"]]
        probes = {"activations": OFF, **recorded.get("probes", {})}
        tree = {**recorded, "experiment": experiment, "probes": probes}
        config = OmegaConf.to_object(OmegaConf.merge(Config, {"model": model}, tree))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, OmegaConfBaseException) as error:
        raise ConfigError(f"{experiment}: the record of a run is no configuration ({error})") from None
    assert isinstance(config, Config)
    return validated(config)


def _foreign(recorded: dict[str, Any]) -> Iterator[str]:
    """What no run records; above all, what Hydra or OmegaConf would look up or call."""
    keys = recorded_keys()
    for path, value in _nodes(recorded):
        key = ".".join(path)
        if "${" in key or (isinstance(value, str) and "${" in value):
            yield f"the interpolation {key}={value}"
        elif key == "norm._target_":
            if not (isinstance(value, str) and RECORDED_TARGET.fullmatch(value)):
                yield f"the normaliser {value}; only the classes of bnrepro.norm and torch.nn are run"
        elif any(re.fullmatch(r"_\w+_", part) for part in key.split(".")):
            yield f"the instruction {key}={value}"
        elif path[0] != "norm" and not isinstance(value, (dict, list)) and re.sub(r"(\.\d+)+$", "", key) not in keys:
            yield f"{key}, which is no key of a record"


def _nodes(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Everything in nested data, however deep, with the keys and places that lead there."""
    inside = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in inside:
        yield (*path, str(key)), value
        yield from _nodes(value, (*path, str(key)))


def unknown_key(key: str, valid: Iterable[str]) -> ConfigError:
    """The error for a key that is not in the schema, with the ``valid`` keys that the user may have meant."""
    valid = sorted(name for name in valid if not name.startswith("profiles"))
    leaf = key.rpartition(".")[2]
    near = [name for name in valid if name.rpartition(".")[2] == leaf] or difflib.get_close_matches(key, valid, 3)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return ConfigError(f"unknown key {key}.{hint} Valid keys: {', '.join(valid)}")
