"""One measurement from its configuration to its finished folder: identity, skip, measure, write."""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import torch
from hydra import compose
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bnrepro import data, store
from bnrepro.config.compose import Composer
from bnrepro.config.identity import CODE_EPOCH
from bnrepro.data import Dataset
from bnrepro.errors import ConfigError, NetworksMissing, StoreError
from bnrepro.models import build_model
from bnrepro.runs import run
from bnrepro.runs.run import WEIGHTS, Planned

FOLDER = "measured"


@dataclass(frozen=True)
class Measurement:
    """A measurement with its identity: what to call, with what, and where its table goes."""

    name: str
    settings: dict[str, Any]
    threads: int
    trained: list[Planned]
    key: str

    @property
    def folder(self) -> store.Run:
        return store.run(self.name, FOLDER, 0, self.key)


@dataclass(frozen=True)
class Trained:
    """A trained network in evaluation mode, with its run and its data."""

    planned: Planned
    model: torch.nn.Module
    dataset: Dataset


def measurements() -> list[str]:
    """Every measurement in ``configs/measurement``, by name."""
    return sorted(path.stem for path in (store.configs_folder() / "measurement").glob("*.yaml"))


def needs(name: str) -> str | None:
    """The experiment whose trained networks a measurement works on, None if it needs none."""
    return getattr(_module(name), "NEEDS", None)


def plan(composer: Composer, name: str, overrides: Sequence[str] = (), training: Sequence[str] = ()) -> Measurement:
    """The measurement and its identity; ``training`` are the overrides of the runs whose networks it works on.

    Raises :class:`ConfigError` for an unknown name, key or value, and :class:`NetworksMissing` if it needs trained
    networks that are not there.
    """
    if name not in measurements():
        raise ConfigError(f"no measurement {name}: choose from {', '.join(measurements())}")
    try:
        tree = OmegaConf.to_container(compose("measure", [f"measurement={name}", *overrides]), resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(str(error).splitlines()[0]) from None
    assert isinstance(tree, dict)
    settings = {key: value for key, value in tree["measurement"].items() if key not in ("name", "profiles")}
    trained = []
    if (experiment := needs(name)) is not None:
        profile = f"profile={tree['profile']}"
        planned = [run.plan(config) for config in composer.sweep([f"experiment={experiment}", profile, *training])]
        trained = [item for item in planned if item.folder.is_done() and (item.folder.path / WEIGHTS).exists()]
        if not trained:
            raise NetworksMissing(
                f"{name} works on the networks that {experiment} trains, and there are none with their weights: "
                f"python scripts/reproduce.py --profile {tree['profile']} --experiments {experiment}"
            )
    own = getattr(_module(name), "own_training", None)
    identity = {
        "epoch": CODE_EPOCH,
        "name": name,
        "settings": settings,
        "threads": tree["threads"],
        "trained": [item.key for item in trained],
        # What it trains itself, briefly: those runs' keys stand for their configuration and their data.
        "trains": [] if own is None else [run.plan(config).key for config in own(**settings)],
        "source": _source(name),
    }
    text = json.dumps(identity, sort_keys=True)
    key = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    return Measurement(name, settings, tree["threads"], trained, key)


def execute(measurement: Measurement) -> str:
    """Bring a measurement to its end: ``skipped`` if its table is already there, else ``finished``."""
    folder = measurement.folder
    if folder.is_done():
        return "skipped"
    torch.set_num_threads(measurement.threads)
    arguments = dict(measurement.settings)
    if measurement.trained:
        arguments["trained"] = [load(item) for item in measurement.trained]
    began = time.perf_counter()
    try:
        frame: pd.DataFrame = _module(measurement.name).measure(**arguments)
    except TypeError as error:
        if "unexpected keyword" in str(error) or "required positional" in str(error):
            raise ConfigError(f"measurement={measurement.name}: {error}") from error
        raise
    with folder.lock():
        meta = {
            "key": measurement.key,
            "experiment": measurement.name,
            "settings": measurement.settings,
            "data": ", ".join(sorted({item.dataset.label for item in arguments.get("trained", [])})),
            "versions": run.versions(),
            "machine": run.machine("cpu"),
            "seconds": round(time.perf_counter() - began, 3),
        }
        files: dict[str, str | bytes] = {
            f"{measurement.name}.csv": frame.to_csv(index=False, float_format="%.6g", lineterminator="\n"),
            "meta.json": json.dumps(meta, indent=1),
        }
        folder.finish(files)
    return "finished"


def load(planned: Planned) -> Trained:
    """The trained network of a finished run. Raises :class:`StoreError` if its weights are not as they were written."""
    files = planned.folder.read()
    if WEIGHTS not in files:
        raise StoreError(f"{planned.folder.path} was trained without keep_weights: delete that folder and run again")
    dataset = data.load(planned.config.data)
    model = build_model(planned.config, tuple(dataset.train.images.shape[1:]), dataset.classes)
    model.load_state_dict(torch.load(io.BytesIO(files[WEIGHTS]), map_location="cpu", weights_only=True))
    return Trained(planned, model.eval(), dataset)


def _source(name: str) -> str:
    """A hash of all code that a measurement's numbers come from, besides training: its module, and the layers."""
    package = Path(__file__).parent
    files = [package / f"{name}.py", package / "networks.py", *sorted((package.parent / "norm").glob("*.py"))]
    for folder in getattr(_module(name), "MADE_FROM", ()):
        files += sorted((package.parent / folder).glob("*.py"))
    return hashlib.blake2b(b"".join(path.read_bytes() for path in files), digest_size=8).hexdigest()


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"bnrepro.measurements.{name}")
