"""A validated :class:`~bnrepro.config.schema.Config`, from what Hydra composed or from what a record holds."""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from types import MappingProxyType
from typing import Any, get_type_hints

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from bnrepro.config.checks import validated
from bnrepro.config.schema import MODELS, Config
from bnrepro.errors import ConfigError
from bnrepro.store.record import flatten

RECORDED_TARGETS = ("bnrepro.", "torch.nn.")
"""What a record may name as the class of a normaliser: a table never runs any other code."""
OFF = {"enabled": False, "growth": 1.0, "min_interval": 1, "max_interval": 1}
"""A probe that leaves no trace in a record was off; its settings do not matter then."""


def register_schema() -> None:
    """Make the dataclasses known to Hydra, as ``schema`` groups that the YAML files build on."""
    store = ConfigStore.instance()
    store.store(group="schema", name="train", node=Config, package="_global_")
    for name, node in MODELS.items():
        store.store(group="schema/model", name=name, node=node)
    # The little arithmetic that sweeps over the batch size need: as many examples in all, and a rate for each size.
    OmegaConf.register_new_resolver("quotient", lambda total, part: max(total // part, 1), replace=True)
    OmegaConf.register_new_resolver(
        "root_scaled", lambda value, size, at: float(f"{value * math.sqrt(size / at):.3g}"), replace=True
    )


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
    # A key appended with + gets past the schema's own check.
    for key in flatten(given).keys() - flatten(config).keys():
        raise unknown_key(key, flatten(config).keys())
    return validated(config)


def from_record(experiment: str, recorded: dict[str, Any]) -> Config:
    """The configuration of a run from the scientific part that its record holds.

    Raises :class:`ConfigError` if that is not a configuration of a run.
    """
    try:
        model, norm = MODELS[recorded["model"]["name"]], dict(recorded["norm"])
        probes = {"activations": OFF, **recorded.get("probes", {})}
        tree = {**recorded, "experiment": experiment, "probes": probes}
        config = _filled(Config, tree, {"model": model})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{experiment}: the record of a run is no configuration ({error})") from None
    target = norm.get("_target_")
    if target is not None and not str(target).startswith(RECORDED_TARGETS):
        raise ConfigError(
            f"{experiment}: its record names the normaliser {target}; only bnrepro's and torch.nn's are run"
        )
    return validated(config)


def _filled(kind: type[Any], tree: Mapping[str, Any], kinds: Mapping[str, type[Any]] = MappingProxyType({})) -> Any:
    """The dataclass ``kind`` with the values of ``tree``; ``kinds`` names the class of a section that has several.

    Raises ``KeyError`` for a key that it does not have, ``TypeError`` where one has neither a value nor a default.
    """
    hints = _hints(kind)
    if unknown := set(tree) - set(hints):
        raise KeyError(min(unknown))
    values = {}
    for name, value in tree.items():
        hint = kinds.get(name, hints[name])
        if is_dataclass(hint):
            values[name] = _filled(hint, value)
        else:
            # In a table a name may look like a number, and a number with no fraction like a whole one.
            values[name] = str(value) if hint is str else float(value) if hint is float else value
    missing = [place.name for place in fields(kind) if place.default == MISSING and place.name not in values]
    if missing:
        raise TypeError(f"{missing[0]} is missing")
    return kind(**values)


@functools.cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    return get_type_hints(kind)


def unknown_key(key: str, valid: Iterable[str]) -> ConfigError:
    """The error for a key that is not in the schema, with those that its user may have meant."""
    valid = sorted(name for name in valid if not name.startswith("profiles"))
    leaf = key.rpartition(".")[2]
    near = [name for name in valid if name.rpartition(".")[2] == leaf] or difflib.get_close_matches(key, valid, 3)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return ConfigError(f"unknown key {key}.{hint} Valid keys: {', '.join(valid)}")
