"""Experiments as lists of runs: Hydra's sweep syntax, without Hydra composing every run from its files."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bnrepro import store
from bnrepro.arguments import importable
from bnrepro.config import own_groups
from bnrepro.config.build import from_hydra, register_schema, unknown_key
from bnrepro.config.checks import validated
from bnrepro.config.schema import Config
from bnrepro.errors import ConfigError
from bnrepro.store.record import flatten


def experiments(configs: Path | None = None) -> list[str]:
    """The sweeps in ``configs/experiment``, or in that folder of ``configs``, sorted by name."""
    return sorted(path.stem for path in ((configs or store.configs_folder()) / "experiment").glob("*.yaml"))


def measurements() -> list[str]:
    """The exact measurements in ``configs/measurement``, sorted by name."""
    return sorted(path.stem for path in (store.configs_folder() / "measurement").glob("*.yaml"))


class Composer:
    """Composes configurations. A context manager: it sets up Hydra's global state once and restores it at the end.

    ``config_dir`` is a user's own folder of groups, as for Hydra's ``--config-dir``.
    """

    def __init__(self, config_dir: str | None = None) -> None:
        self._own = None if config_dir is None else importable(config_dir)
        self._inside = False

    @classmethod
    def inside_hydra(cls) -> Composer:
        """A composer for code that ``hydra.main`` runs, which has set up Hydra with the folders of its command line."""
        composer = cls()
        composer._inside = True
        return composer

    def __enter__(self) -> Composer:
        register_schema()
        if not self._inside:
            # A measurement opens a composer of its own while that of its command is still open, whose groups it keeps.
            self._outer = GlobalHydra.instance().hydra, own_groups.folder
            GlobalHydra.instance().clear()
            own_groups.folder = self._own or self._outer[1]
            self._context = initialize_config_dir(str(store.configs_folder()), version_base="1.3")
            self._context.__enter__()
        self._composed_of: dict[tuple[Any, ...], tuple[DictConfig, list[str], list[str], Config]] = {}
        self._computed: dict[tuple[Any, ...], dict[str, Any]] = {}
        return self

    def __exit__(self, *exception: object) -> None:
        if not self._inside:
            self._context.__exit__(*exception)
            GlobalHydra.instance().hydra, own_groups.folder = self._outer

    def sweep(self, overrides: Sequence[str], single: bool = False) -> list[Config]:
        """All runs of ``python scripts/train.py -m`` with these overrides, without duplicates.

        ``overrides`` narrow, widen or fix the experiment's own ``hydra.sweeper.params``. With ``single``, the one run
        of the same call without ``-m``. Raises :class:`ConfigError` with one message that names the valid choices.
        """
        with _plain_errors():
            return self.configs(self._jobs(overrides, single))

    def first(self, overrides: Sequence[str]) -> Config:
        """The first run of :meth:`sweep`, alone, and composed once for both."""
        with _plain_errors():
            return self.configs(self._jobs(overrides)[:1])[0]

    def _jobs(self, overrides: Sequence[str], single: bool = False) -> list[tuple[str, ...]]:
        given = [parse(text) for text in overrides]
        if single and any(item.is_sweep_override() for item in given):
            raise ConfigError("several values for one key make a sweep: add -m")
        fixed = tuple(str(item.input_line) for item in given if not item.is_sweep_override())
        return expand([*([] if single else self._swept(fixed)), *overrides])

    def configs(self, jobs: Sequence[Sequence[str]]) -> list[Config]:
        """One run for each list of overrides, without duplicates. Raises :class:`ConfigError`."""
        return [config for config, _ in self.detailed(jobs)]

    def detailed(self, jobs: Sequence[Sequence[str]]) -> list[tuple[Config, str]]:
        """As :meth:`configs`, each with what distinguishes it from the others: see :func:`details`."""
        with _plain_errors():
            found = [self._compose(tuple(parse(text) for text in job)) for job in jobs]
        # What its values were computed from, in `profiles`, does not make a run another.
        without = [repr(dataclasses.replace(config, profiles={})) for config in found]
        return list(dict(zip(without, zip(found, details(jobs), strict=True), strict=True)).values())

    @functools.lru_cache(maxsize=256)  # noqa: B019 - lives as long as one command
    def _swept(self, overrides: tuple[str, ...]) -> list[str]:
        """The sweep that the experiment declares, with interpolations such as ``${treatment}`` resolved."""
        cfg = self._composed([parse(text) for text in overrides], return_hydra_config=True)
        return declared_sweep(cfg.hydra.sweeper.get("params"))

    def _compose(self, overrides: tuple[Override, ...]) -> Config:
        """One run. Runs that differ only in plain values are checked copies of one that Hydra composed.

        What the configuration computes from these values by interpolation is resolved anew for each.
        """
        values = {item.key_or_group: item.value() for item in overrides if self._is_value(item)}
        if not all(map(_is_plain, values.values())):
            return from_hydra(self._composed(overrides))
        rest = tuple(item.input_line for item in overrides if not self._is_value(item))
        shape = (rest, *values)
        if shape not in self._composed_of:
            cfg = self._composed(overrides)
            leaves = flatten(OmegaConf.to_container(cfg, resolve=False))
            computed = {key: str(leaf) for key, leaf in leaves.items() if "${" in str(leaf) and key not in values}
            referred = [key for key in values if key.rpartition(".")[2] in " ".join(computed.values())]
            self._composed_of[shape] = cfg, list(computed), referred, from_hydra(cfg)
        cfg, computed, referred, first = self._composed_of[shape]
        same = (shape, *(repr(values[key]) for key in referred))
        if same not in self._computed:
            for key, value in values.items():
                OmegaConf.update(cfg, key, value)
            self._computed[same] = {key: _selected(cfg, key) for key in computed}
        config = copy.deepcopy(first)
        if all(_assign(config, key, value) for key, value in (values | self._computed[same]).items()):
            return validated(config)
        return from_hydra(self._composed(overrides))

    def _composed(self, overrides: Sequence[Override], **options: Any) -> DictConfig:
        self._refuse_choices(overrides)
        given = [str(item.input_line) for item in overrides]
        try:
            return compose("train", given, **options)
        except (HydraException, OmegaConfBaseException):
            self._refuse_unknown_keys(overrides)
            raise
        except Exception as error:  # odd overrides, at which Hydra itself breaks down
            raise ConfigError(f"{' '.join(given)}: cannot be composed ({plain(error)})") from error

    def _refuse_choices(self, overrides: Sequence[Override]) -> None:
        """Refuse what names no choice of a group, at which Hydra itself breaks down."""
        for item in overrides:
            if item.is_delete() or not self._is_group(item.key_or_group):
                continue
            value = item.value()
            if not all(isinstance(each, str) and each for each in (value if isinstance(value, list) else [value])):
                names = ", ".join(GlobalHydra.instance().config_loader().get_group_options(item.key_or_group))
                raise ConfigError(f"{item.input_line}: leave it out, or choose one of {names}")

    def _refuse_unknown_keys(self, overrides: Sequence[Override]) -> None:
        """If Hydra refused an unknown key, name the valid ones, which its own message does not."""
        groups = [str(item.input_line) for item in overrides if not self._is_value(item)]
        known = set(self._keys(tuple(groups)))
        for item in overrides:
            key = item.key_or_group
            if self._is_value(item) and key not in known:
                raise unknown_key(key, known)

    @functools.lru_cache(maxsize=256)  # noqa: B019 - lives as long as one command
    def _keys(self, groups: tuple[str, ...]) -> frozenset[str]:
        cfg = compose("train", list(groups))
        leaves = flatten(OmegaConf.to_container(cfg, resolve=False))
        parents = {key.rpartition(".")[0] for key in leaves}
        return (frozenset(leaves) | parents) - {""}

    def _is_value(self, item: Override) -> bool:
        """Whether this is a plain ``key=value`` of a run: no choice of a group, no key of Hydra, no +, ++ or ~."""
        key = item.key_or_group
        special = item.is_add() or item.is_force_add() or item.is_delete() or key.startswith("hydra.")
        return not special and item.package is None and not self._is_group(key)

    @functools.lru_cache(maxsize=256)  # noqa: B019
    def _is_group(self, key: str) -> bool:
        return bool(GlobalHydra.instance().config_loader().get_group_options(key))


def declared_sweep(params: Mapping[str, Any] | None) -> list[str]:
    """``hydra.sweeper.params`` as overrides."""
    return [f"{key}={value}" for key, value in (params or {}).items()]


def expand(overrides: Sequence[str]) -> list[tuple[str, ...]]:
    """The jobs of a sweep in Hydra's syntax: every combination of the swept values; the last key changes fastest.

    The last of several overrides of one key holds. Raises :class:`ConfigError` for values that cannot be listed.
    """
    values: dict[str, list[str]] = {}
    for item in map(parse, overrides):
        key = item.get_key_element()
        if not item.is_sweep_override():
            values[key] = [str(item.input_line) if item.is_delete() else f"{key}={item.get_value_element_as_str()}"]
        elif item.is_discrete_sweep():
            values[key] = [f"{key}={value}" for value in _swept_values(item)]
        else:
            raise ConfigError(f"{item.input_line}: a sweep lists its values, as in {key}=1,2 or {key}=range(3)")
    if math.prod(map(len, values.values())) > MOST_JOBS:
        raise ConfigError(f"a sweep of more than {MOST_JOBS:,} runs: give fewer values")
    return list(itertools.product(*values.values()))


def _swept_values(item: Override) -> list[str]:
    """The values of one key of a sweep, at most one more than a sweep may have."""
    if GlobalHydra.instance().is_initialized():
        item = dataclasses.replace(item, config_loader=GlobalHydra.instance().config_loader())  # which a glob asks
    try:
        found = list(itertools.islice(item.sweep_string_iterator(), MOST_JOBS + 1))
    except (HydraException, ValueError, TypeError, ArithmeticError) as error:
        raise ConfigError(f"{item.input_line}: its values cannot be listed ({plain(error)})") from None
    if not found:
        raise ConfigError(f"{item.input_line}: there is no such value")
    return found


MOST_JOBS = 100_000
"""Runs of one sweep; far more than anyone trains, and few enough to be listed at once."""
LABELLED = ("norm", "placement", "arm", "seed")
"""Keys that the name of a run contains already."""
LONGEST_DETAIL = 60
"""In characters: details are part of the names of folders."""


def details(jobs: Sequence[Sequence[str]]) -> list[str]:
    """For each job of a sweep, what distinguishes it from the others besides arm and seed: ``lr0.1-steps100``."""
    values = [{key: value for key, _, value in (text.lstrip("+").partition("=") for text in job)} for job in jobs]
    keys = dict.fromkeys(key for one in values for key in one if key not in LABELLED and not key.startswith("hydra"))
    varying = [key for key in keys if len({one.get(key) for one in values}) > 1]
    return [_detail({key: one[key] for key in varying if key in one}) for one in values]


def _detail(values: Mapping[str, str]) -> str:
    text = "-".join(f"{key.rpartition('.')[2].rpartition('/')[2]}{value}" for key, value in values.items())
    return store.short(re.sub(r"[^\w.-]", "_", text), LONGEST_DETAIL, text)


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    """Turns Hydra's errors into a :class:`ConfigError`."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(plain(error)) from None


@functools.lru_cache(maxsize=100_000)
def parse(text: str) -> Override:
    """One override of the command line. Raises :class:`ConfigError` if it is not one."""
    try:
        [override] = OverridesParser.create().parse_overrides([text])
    except HydraException as error:
        raise ConfigError(f"{text}: not an override such as steps=1000 ({plain(error)})") from None
    if not override.key_or_group:
        raise ConfigError(f"{text}: not an override such as steps=1000 (no key)")
    return override


def _selected(cfg: DictConfig, key: str) -> Any:
    """The value of a key, its interpolations resolved."""
    value = OmegaConf.select(cfg, key)
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def _is_plain(value: Any) -> bool:
    """Whether a value is a number, a truth value, null or a text that refers to no other key."""
    return isinstance(value, (int, float, str, type(None))) and "${" not in str(value)


def _assign(config: Config, key: str, value: Any) -> bool:
    """Set a plain value if it has the type of the present one; False if Hydra has to compose it."""
    *parents, leaf = key.split(".")
    node: Any = config
    for parent in parents:
        node = node[parent] if isinstance(node, dict) else getattr(node, parent)
    present = node[leaf] if isinstance(node, dict) else getattr(node, leaf)
    if type(present) is float and type(value) is int:
        value = float(value)
    if type(present) is not type(value):
        return False
    parts = [*present, *value] if isinstance(present, list) else [value]
    if len(set(map(type, parts))) > 1 or not all(map(_is_plain, parts)):
        return False
    if isinstance(node, dict):
        node[leaf] = value
    else:
        setattr(node, leaf, value)
    return True


def plain(error: BaseException) -> str:
    """The messages of a Hydra error and its cause, without hints at Hydra's internals."""
    dropped = ("HYDRA_FULL_ERROR", "See https://", "provider=", "Config search path", "full_key:", "object_type")
    causes = [str(error)] + ([str(error.__cause__)] if error.__cause__ else [])
    lines = [line.strip() for text in causes for line in text.splitlines()]
    kept = [line for line in lines if line and not any(hint in line for hint in dropped)]
    return " ".join(dict.fromkeys(kept))
