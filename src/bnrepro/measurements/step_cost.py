"""The cost of a training step with and without Batch Normalization: slices of both in turn, in one process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd

from bnrepro.config.schema import Config
from bnrepro.data import load
from bnrepro.measurements.networks import configuration
from bnrepro.measurements.timing import interleave
from bnrepro.training.loop import Trainer


def own_training(models: Mapping[str, Mapping[str, Sequence[str]]], **settings: Any) -> list[Config]:
    """The runs whose steps are timed."""
    return [configuration(*overrides) for arms in models.values() for overrides in arms.values()]


def measure(
    models: Mapping[str, Mapping[str, Sequence[str]]], rounds: int, slices: int, steps: Mapping[str, int]
) -> pd.DataFrame:
    """Seconds of a training step of every arm of every model, in this repository's own loop.

    ``models`` maps each model to its arms, and each arm to the overrides of its run; ``steps`` maps each model to the
    steps of a slice. Columns: ``model``, ``arm``, ``data``, ``round``; ``seconds`` of a step (median over the round's
    slices); ``core``, the share of the time in which this process had a core: well below 1, other work used the
    machine.
    """
    rows = []
    for model, arms in models.items():
        trainers = {}
        for arm, overrides in arms.items():
            config = configuration(*overrides)
            trainers[arm] = Trainer(config, load(config.data))
        timings = interleave(
            {arm: partial(trainer.advance, steps[model]) for arm, trainer in trainers.items()}, rounds, slices
        )
        core = timings.cpu_seconds / timings.wall_seconds
        for arm, trainer in trainers.items():
            for turn, seconds in enumerate(timings.seconds(arm)):
                rows.append((model, arm, trainer.data_label, turn, seconds / steps[model], core))
    return pd.DataFrame(rows, columns=["model", "arm", "data", "round", "seconds", "core"])
