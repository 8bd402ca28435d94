"""One measurement from its configuration to its finished folder: identity, skip, measure, write."""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pandas as pd
import torch
from hydra import compose
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bnrepro import data, store
from bnrepro.arguments import PROFILES
from bnrepro.config.build import unknown_key
from bnrepro.config.compose import Composer, measurements, parse, plain
from bnrepro.config.identity import CODE_EPOCH
from bnrepro.config.schema import Config
from bnrepro.data import Dataset, fallback
from bnrepro.errors import ConfigError, NetworksMissing, StoreError
from bnrepro.measurements import source
from bnrepro.models import build_model
from bnrepro.runs import lifecycle, provenance
from bnrepro.runs.contents import WEIGHTS
from bnrepro.runs.planned import Planned, key_of
from bnrepro.runs.planned import plan as plan_run
from bnrepro.store import Files, RunFolder, RunRecord
from bnrepro.store.record import VERSIONS, flatten

LABEL = "measured"


@dataclass(frozen=True)
class Measurement:
    """A measurement with its identity: its function, the settings and networks it gets, and its folder."""

    name: str
    settings: dict[str, Any]
    threads: int
    trained: list[Planned]
    key: str

    @property
    def folder(self) -> RunFolder:
        return store.run_folder(self.name, LABEL, 0, self.key)

    def record(self, data_label: str, made: Mapping[str, Any], seconds: float) -> RunRecord:
        """The record of this measurement; ``made`` names the versions and the hardware that produced it."""
        return RunRecord(
            run=self.folder.name,
            key=self.key,
            experiment=self.name,
            arm=LABEL,
            seed=0,
            status="finished",
            last_step=0,
            data=data_label,
            fingerprint="",
            config=self.settings,
            versions={name: made[name] for name in VERSIONS},
            machine={"hardware": made["hardware"], "cores": int(made["cores"])},
            seconds=seconds,
            finished=round(time.time(), 3),
        )


@dataclass(frozen=True)
class Trained:
    """A trained network in evaluation mode, with its run and its data."""

    planned: Planned
    model: torch.nn.Module
    dataset: Dataset


def needs(name: str) -> str | None:
    """The experiment whose trained networks a measurement works on; None if it needs none."""
    return getattr(_module(name), "NEEDS", None)


def plan(
    composer: Composer,
    name: str,
    overrides: Sequence[str] = (),
    training: Sequence[str] = (),
    with_networks: bool = True,
    devices: Sequence[str] = (),
) -> Measurement:
    """The measurement and its identity; ``training`` are overrides of the runs whose networks it works on.

    These runs are the finished ones that kept their weights, on any of the ``devices`` or, without ``with_networks``,
    all runs of the experiment, each on its own: the identity is then that of a measurement made when all had finished.
    Raises :class:`ConfigError` for an unknown
    name, key or value, and :class:`NetworksMissing` if the trained networks that it needs are missing.
    """
    tree = composed(name, overrides)
    settings = tree["measurement"]
    trained = _trained(composer, name, tree["profile"], training, with_networks, devices)
    own = getattr(_module(name), "own_training", None)
    identity = {
        "epoch": CODE_EPOCH,
        "name": name,
        "settings": settings,
        "threads": tree["threads"],
        "trained": [item.key for item in trained],
        # The keys of its own brief runs stand for their configurations and their data.
        "trains": [] if own is None else [key_of(config) for config in own(**settings)],
        "source": source.digest(_module(name).__name__),
    }
    key = hashlib.blake2b(json.dumps(identity, sort_keys=True).encode(), digest_size=8).hexdigest()
    return Measurement(name, settings, tree["threads"], trained, key)


def composed(name: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """A measurement's configuration: ``profile``, ``threads``, and as ``measurement`` the arguments of its function.

    Raises :class:`ConfigError` for an unknown name or key, or a value that is not of its default's type.
    """
    if name not in measurements():
        raise ConfigError(f"no measurement {name}: choose from {', '.join(measurements())}")
    for text in overrides:
        if parse(text).is_sweep_override():
            raise ConfigError(f"{text}: one measurement has one value for each key")
    tree, default = _tree(name, overrides), _tree(name)
    given, known = flatten(tree), flatten(default)
    for key, value in given.items():
        if key not in known:
            raise unknown_key(key, known)
        if not _fits(value, known[key]):
            raise ConfigError(f"{key}={value}: of another type than its default, {known[key]}")
    if known.keys() - given.keys():
        raise ConfigError(f"{', '.join(sorted(known.keys() - given.keys()))}: cannot be left out")
    if not 1 <= tree["threads"] <= 1024:
        raise ConfigError(f"threads={tree['threads']}: must be at least 1 and at most 1024")
    if tree["profile"] not in PROFILES:
        raise ConfigError(f"profile={tree['profile']}: choose one of {', '.join(PROFILES)}")
    settings = {key: value for key, value in tree["measurement"].items() if key not in ("name", "profiles")}
    return tree | {"measurement": settings}


def _tree(name: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    try:
        tree = OmegaConf.to_container(compose("measure", [f"measurement={name}", *overrides]), resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        for text in overrides:
            key = parse(text).key_or_group
            if overrides and key not in (known := flatten(_tree(name))):
                raise unknown_key(key, known) from None
        raise ConfigError(plain(error)) from None
    except Exception as error:  # odd overrides, at which Hydra itself breaks down
        raise ConfigError(f"{' '.join(overrides)}: cannot be composed ({plain(error)})") from error
    assert isinstance(tree, dict)
    return {str(key): value for key, value in tree.items()}


def _fits(value: Any, default: Any) -> bool:
    """Whether ``value`` is of the type of ``default``; a whole number can stand for a real one."""
    if isinstance(value, list) and isinstance(default, list):
        return all(any(_fits(each, one) for one in default) for each in value) and (bool(value) or not default)
    if isinstance(value, float) and isinstance(default, (int, float)):
        return isinstance(default, float) and math.isfinite(value)
    return type(value) is type(default) or (type(value) is int and type(default) is float)


def _trained(
    composer: Composer, name: str, profile: str, training: Sequence[str], with_networks: bool, devices: Sequence[str]
) -> list[Planned]:
    """The runs whose networks the measurement ``name`` works on."""
    experiment = needs(name)
    if experiment is None:
        return []

    def composed(stand_in: tuple[str, ...]) -> list[Config]:
        return composer.sweep([f"experiment={experiment}", f"profile={profile}", *stand_in, *training])

    found = fallback.with_data(composed)
    fallback.tell(found)
    trained = [plan_run(config, together=with_networks, devices=devices) for config in found.configs]
    if with_networks:
        trained = [item for item in trained if item.folder.is_done() and (item.folder.path / WEIGHTS).exists()]
    if not trained:
        raise NetworksMissing(
            f"{name} needs trained networks of {experiment}, and none with weights are here: "
            f"python scripts/reproduce.py --profile {profile} --experiments {experiment}"
        )
    return trained


def execute(measurement: Measurement) -> str:
    """Make a measurement: returns ``skipped`` if its table exists already, else ``finished``."""
    return lifecycle.complete(measurement.folder, lambda: _measure(measurement))


def _measure(measurement: Measurement) -> tuple[RunRecord, Files]:
    torch.set_num_threads(measurement.threads)
    arguments = dict(measurement.settings)
    if measurement.trained:
        arguments["trained"] = [load(item) for item in measurement.trained]
    began = time.perf_counter()
    try:
        frame: pd.DataFrame = _module(measurement.name).measure(**arguments)
    except (TypeError, ValueError, ArithmeticError, LookupError, RuntimeError) as error:
        if measurement.settings in _declared(measurement.name):
            raise
        settings = ", ".join(f"measurement.{key}={value}" for key, value in measurement.settings.items())
        raise ConfigError(f"{settings}: {measurement.name} cannot be made so ({plain(error)})") from error
    seconds = round(time.perf_counter() - began, 3)
    label = ", ".join(sorted({item.dataset.label for item in arguments.get("trained", [])}))
    record = measurement.record(label, provenance.versions() | provenance.machine("cpu"), seconds)
    table = frame.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    return record, {f"{measurement.name}.csv": table}


def _declared(name: str) -> list[dict[str, Any]]:
    """The settings that the measurement's own file gives, by profile."""
    with Composer():
        return [composed(name, [f"profile={profile}"])["measurement"] for profile in PROFILES]


def load(planned: Planned) -> Trained:
    """The trained network of a finished run. Raises :class:`StoreError` if its weights are missing or damaged."""
    _, files = planned.folder.read()
    if WEIGHTS not in files:
        raise StoreError(f"{planned.folder.path} was trained without keep_weights: delete this folder and run again")
    dataset = data.load(planned.config.data)
    model = build_model(planned.config, tuple(dataset.train.images.shape[1:]), dataset.classes)
    model.load_state_dict(torch.load(io.BytesIO(files[WEIGHTS]), map_location="cpu", weights_only=True))
    return Trained(planned, model.eval(), dataset)


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"bnrepro.measurements.{name}")
