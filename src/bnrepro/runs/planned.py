"""A run before it is trained: its identity, its folder, its engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from bnrepro import data, store
from bnrepro.config.identity import arm_label, run_key
from bnrepro.config.schema import Config
from bnrepro.errors import ConfigError
from bnrepro.runs import engines
from bnrepro.store import RunFolder

SINGLE = "single"
"""The experiment of runs that belong to none."""


@dataclass(frozen=True)
class Planned:
    """A run with its identity, trained or not. ``detail`` names what its sweep varies.

    ``others`` are the same run on other engines or devices: if one of them is finished, this one need not be trained.
    """

    config: Config
    key: str
    folder: RunFolder
    detail: str = ""
    others: tuple[Planned, ...] = ()

    @property
    def label(self) -> str:
        """The name that tells people this run from the others: its arm, and what its sweep varies."""
        return labelled(self.config, self.detail)


@dataclass(frozen=True)
class Report:
    """The progress of a training run: losses and accuracies by ``split/metric``, and its speed."""

    name: str
    step: int
    steps: int
    values: dict[str, float]
    steps_per_second: float


def labelled(config: Config, detail: str) -> str:
    """An arm with what its sweep varies: ``batch-lr0.1``."""
    return f"{arm_label(config)}-{detail}" if detail else arm_label(config)


def plan(config: Config, detail: str = "", together: bool = False, devices: Sequence[str] = ()) -> Planned:
    """The identity of a run. It loads the data, whose fingerprint is part of the identity.

    ``together`` says that other runs may train beside it: the table of :mod:`~bnrepro.runs.engines` then chooses its
    engine. ``devices`` are those that may train it, the first one if it has to be trained; by default that of its
    configuration. A run that another engine or device has finished is that finished run.

    Only runs without an experiment have ``detail`` in the name of their folder: the tables of ``configs/experiment``
    name runs by arm, seed and key.
    """
    each = (_identified(found, detail) for found in engines.candidates(config, together, devices))
    first, *others = each
    return next((item for item in (first, *others) if item.folder.is_done()), replace(first, others=tuple(others)))


def _identified(config: Config, detail: str) -> Planned:
    key = key_of(config)
    label = labelled(config, detail) if config.experiment == SINGLE else arm_label(config)
    return Planned(config, key, store.run_folder(config.experiment, label, config.seed, key), detail)


def key_of(config: Config) -> str:
    """The key of the run that ``config`` alone describes, whatever has been trained."""
    return run_key(config, data.open_dataset(config.data).fingerprint)


def require_device(config: Config) -> None:
    """Raise :class:`ConfigError` if the device of the run is not available."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device=cuda: no CUDA device is available; use device=cpu")
