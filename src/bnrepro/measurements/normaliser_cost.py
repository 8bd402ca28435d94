"""The cost of a training step with each of several normalisers: slices of all in turn, in one process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from bnrepro.config.schema import Config
from bnrepro.measurements import step_cost


def _arms(
    models: Mapping[str, Sequence[str]], normalisers: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, list[str]]]:
    """The runs to time, by model and arm: without a normaliser, then with each."""
    return {
        model: {name: [*overrides, f"norm={name}"] for name in ["none", *normalisers[model]]}
        for model, overrides in models.items()
    }


def own_training(
    models: Mapping[str, Sequence[str]], normalisers: Mapping[str, Sequence[str]], **settings: Any
) -> list[Config]:
    """The runs whose steps are timed."""
    return step_cost.own_training(_arms(models, normalisers))


def measure(
    models: Mapping[str, Sequence[str]], normalisers: Mapping[str, Sequence[str]], rounds: int, slices: int,
    steps: Mapping[str, int],
) -> pd.DataFrame:  # fmt: skip
    """As :func:`bnrepro.measurements.step_cost.measure`, without a normaliser and with those named for each model.

    ``models`` maps each model to the overrides of its run; ``normalisers`` to names in ``configs/norm``.
    """
    return step_cost.measure(_arms(models, normalisers), rounds, slices, steps)
