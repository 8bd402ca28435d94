"""What a training step costs without and with Batch Normalization: slices of both runs in turn, in one process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from bnrepro.benchmark.protocol import interleave
from bnrepro.benchmark.subjects import steps_of
from bnrepro.data import load
from bnrepro.measure.networks import configuration
from bnrepro.train import Trainer


def measure(models: Mapping[str, Mapping[str, Sequence[str]]], rounds: int, slices: int, steps: int) -> pd.DataFrame:
    """Seconds of a training step of every arm of every model, by this repository's own loop.

    ``models`` names for each model its arms, and for each arm the overrides of its run. Columns: ``model``, ``arm``,
    ``data``, ``round``, ``seconds`` a step (median over the round's slices), and ``core``: the share of the time in
    which this process had a core; well below 1, others were using the machine.
    """
    rows = []
    for model, arms in models.items():
        trainers = {}
        for arm, overrides in arms.items():
            config = configuration(*overrides)
            trainers[arm] = Trainer(config, load(config.data))
            trainers[arm].model.train()
        timings = interleave({arm: steps_of(trainer, steps) for arm, trainer in trainers.items()}, rounds, slices)
        core = timings.cpu_seconds / timings.wall_seconds
        for arm, trainer in trainers.items():
            for turn, seconds in enumerate(timings.seconds(arm)):
                rows.append((model, arm, trainer.data_label, turn, seconds / steps, core))
    return pd.DataFrame(rows, columns=["model", "arm", "data", "round", "seconds", "core"])
