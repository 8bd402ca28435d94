"""Experiments as lists of runs: Hydra's own sweep syntax, expanded without composing every run from its files."""

from __future__ import annotations

import copy
import functools
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bnrepro import store
from bnrepro.config.identity import flatten, from_hydra, unknown_key, validated
from bnrepro.config.schema import Config, register_schema
from bnrepro.errors import ConfigError


def experiments() -> list[str]:
    """Every sweep in ``configs/experiment``, by name."""
    return sorted(path.stem for path in (store.configs_folder() / "experiment").glob("*.yaml"))


class Composer:
    """Composes configurations. A context manager: Hydra's global state is set up once and cleared at the end.

    ``config_dir`` is a user's own folder of groups, as Hydra's ``--config-dir``.
    """

    def __init__(self, config_dir: str | None = None) -> None:
        self._extra: list[str] = []
        if config_dir is not None:
            folder = Path(config_dir).resolve()
            if not folder.is_dir():
                raise ConfigError(f"--config-dir {config_dir}: no such folder")
            _importable(folder)
            self._extra = [f"hydra.searchpath=[file://{folder}]"]

    def __enter__(self) -> Composer:
        register_schema()
        # A measurement composes its own runs while the command that asked for it has a composer open.
        self._outer = GlobalHydra.instance().hydra
        GlobalHydra.instance().clear()
        self._context = initialize_config_dir(str(store.configs_folder()), version_base="1.3")
        self._context.__enter__()
        self._templates: dict[tuple[Any, ...], Config] = {}
        self._referred: dict[tuple[Any, ...], list[str]] = {}
        return self

    def __exit__(self, *exception: object) -> None:
        self._context.__exit__(*exception)
        GlobalHydra.instance().hydra = self._outer

    def sweep(self, overrides: Sequence[str], single: bool = False) -> list[Config]:
        """All runs that ``python scripts/train.py -m`` with these overrides starts, without duplicates.

        The experiment's own ``hydra.sweeper.params`` come first; ``overrides`` narrow, widen or fix them. With
        ``single``, the one run that the same call without ``-m`` starts.
        Raises :class:`ConfigError` with one message that names the valid choices.
        """
        try:
            given = [parse(text) for text in overrides]
            swept = [] if single else self._swept([text for text in overrides if not parse(text).is_sweep_override()])
            if single and any(item.is_sweep_override() for item in given):
                raise ConfigError("several values for one key are a sweep: add -m")
            parsed = [parse(text) for text in (*swept, *overrides)]
            [jobs] = BasicSweeper.split_arguments(parsed, max_batch_size=None)
            configs = [self._compose(tuple(parse(text) for text in job)) for job in jobs]
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(_plain(error)) from None
        return list({repr(config): config for config in configs}.values())

    def _swept(self, overrides: list[str]) -> list[str]:
        """The sweep that the experiment declares; interpolations such as ``${treatment}`` resolved."""
        cfg = self._composed([parse(text) for text in overrides], return_hydra_config=True)
        params = cfg.hydra.sweeper.get("params") or {}
        return [f"{key}={params[key]}" for key in params]

    def _compose(self, overrides: tuple[Override, ...]) -> Config:
        """One run. Runs that differ only in plain values are copies of one that Hydra composed, checked as it was."""
        values = {item.key_or_group: item.value() for item in overrides if self._is_value(item)}
        rest = tuple(item.input_line for item in overrides if not self._is_value(item))
        shape = (rest, *values)
        # Keys that others refer to by interpolation: only runs with the same values of these are copies.
        referred = self._referred.get(shape)
        if referred is not None:
            template = self._templates.get((shape, *(repr(values[key]) for key in referred)))
            if template is not None:
                config = copy.deepcopy(template)
                if all(_assign(config, key, value) for key, value in values.items()):
                    return validated(config)
        cfg = self._composed(overrides)
        config = from_hydra(cfg)
        interpolations = " ".join(re.findall(r"\$\{[^\n]*", OmegaConf.to_yaml(cfg)))
        self._referred[shape] = [key for key in values if key.rpartition(".")[2] in interpolations]
        same = (shape, *(repr(values[key]) for key in self._referred[shape]))
        self._templates[same] = copy.deepcopy(config)
        return config

    def _composed(self, overrides: Sequence[Override], **options: Any) -> DictConfig:
        try:
            return compose("train", [*self._extra, *(str(item.input_line) for item in overrides)], **options)
        except (HydraException, OmegaConfBaseException):
            self._refuse_unknown_keys(overrides)
            raise

    def _refuse_unknown_keys(self, overrides: Sequence[Override]) -> None:
        """Name the keys that are there, if it was a key that Hydra refused: it does not."""
        groups = [str(item.input_line) for item in overrides if not self._is_value(item)]
        known = set(self._keys(tuple(groups)))
        for item in overrides:
            key = item.key_or_group
            if self._is_value(item) and key not in known:
                raise unknown_key(key, known)

    @functools.lru_cache(maxsize=256)  # noqa: B019 - a composer lives as long as one command
    def _keys(self, groups: tuple[str, ...]) -> frozenset[str]:
        cfg = compose("train", [*self._extra, *groups])
        leaves = flatten(OmegaConf.to_container(cfg, resolve=False))
        parents = {key.rpartition(".")[0] for key in leaves}
        return (frozenset(leaves) | parents) - {""}

    def _is_value(self, item: Override) -> bool:
        """A plain ``key=value`` of a run, as opposed to a choice of a group, to Hydra's own keys, and to its +, ++ and
        ~ forms."""
        change = not (
            item.is_add() or item.is_force_add() or item.is_delete() or item.key_or_group.startswith("hydra.")
        )
        return change and item.package is None and not self._is_group(item.key_or_group)

    @functools.lru_cache(maxsize=256)  # noqa: B019
    def _is_group(self, key: str) -> bool:
        return bool(GlobalHydra.instance().config_loader().get_group_options(key))


def _importable(folder: Path) -> None:
    """Let a user's classes lie beside the YAML files that name them, here and in every process started from here."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
        inherited = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *([inherited] if inherited else [])])


@functools.lru_cache(maxsize=100_000)
def parse(text: str) -> Override:
    """One override of the command line. Raises :class:`ConfigError` if it is not one."""
    try:
        [override] = OverridesParser.create().parse_overrides([text])
    except HydraException as error:
        raise ConfigError(f"{text}: not an override such as steps=1000 ({_plain(error)})") from None
    return override


def _assign(config: Config, key: str, value: Any) -> bool:
    """Set a plain value of the same type as the one that is there; False where only Hydra can tell."""
    *parents, leaf = key.split(".")
    node: Any = config
    for parent in parents:
        node = node[parent] if isinstance(node, dict) else getattr(node, parent)
    present = node[leaf] if isinstance(node, dict) else getattr(node, leaf)
    if type(present) is float and type(value) is int:
        value = float(value)
    if type(present) is not type(value) or not isinstance(value, (int, float, str)):
        return False
    if isinstance(value, str) and "${" in value:
        return False
    if isinstance(node, dict):
        node[leaf] = value
    else:
        setattr(node, leaf, value)
    return True


def _plain(error: BaseException) -> str:
    """Hydra's message with its cause's, without the hints at its internals."""
    dropped = ("HYDRA_FULL_ERROR", "See https://", "provider=", "Config search path", "full_key:", "object_type")
    causes = [str(error)] + ([str(error.__cause__)] if error.__cause__ else [])
    lines = [line.strip() for text in causes for line in text.splitlines()]
    kept = [line for line in lines if line and not any(hint in line for hint in dropped)]
    return " ".join(dict.fromkeys(kept))
