"""Maps with known answers, as tables in memory: a rule for what each run does, over scales, rates, arms and seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from bnrepro.tables import Tables

SCALES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
STEPS = (0, 10, 20, 40, 80, 160, 320, 640, *range(1000, 10001, 500))
IDENTITY = ["run", "experiment", "arm", "seed"]


@dataclass
class Run:
    """What one run does. ``accuracy`` and ``loss`` are curves over the steps; the rest is what its probes saw."""

    accuracy: Callable[[int], float]
    loss: Callable[[int], float] = lambda step: 1.0
    drift: Mapping[tuple[str, float], float] = field(default_factory=dict)
    saturated: Sequence[float] = ()
    weights: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Norm of every hidden layer at the start, at half of the steps and at the end."""
    gradient: float = 1.0
    diverged_at: int | None = None


def flat(end: float) -> Run:
    """A run that stays at one accuracy."""
    return Run(lambda step: end)


Cell = Callable[[str, float, float, int], Run]
"""(arm, scale, rate, seed) → the run."""


def tables(
    cell: Cell, experiment: str = "operating_points", scales: Sequence[float] = SCALES,
    rates: Sequence[float] = RATES, seeds: Sequence[int] = (0, 1, 2), arms: Sequence[str] = ("none", "batch"),
    steps: Sequence[int] = STEPS, activation: str = "sigmoid",
) -> Tables:  # fmt: skip
    """The tables of an experiment whose runs are those of ``cell``."""
    rows: dict[str, list[tuple]] = {name: [] for name in ("metrics", "runs", "drift", "saturation", "norms")}
    for scale in scales:
        for rate in rates:
            for arm in arms:
                for seed in seeds:
                    made = cell(arm, scale, rate, seed)
                    _add(rows, made, (f"{arm}-{scale:g}-{rate:g}-{activation}-s{seed}", experiment, arm, seed),
                         (scale, rate, activation), steps)  # fmt: skip
    columns = {
        "metrics": ["step", "examples", "split", "metric", "value"],
        "runs": ["status", "last_step", "steps", "data", "norm.name", "model.init_scale", "optimizer.lr",
                 "model.activation", "data.name"],
        "drift": ["part", "statistic", "drift"],
        "saturation": ["step", "layer", "saturated"],
        "norms": ["step", "layer", "weight", "gradient"],
    }  # fmt: skip
    frames = {name: pd.DataFrame(found, columns=[*IDENTITY, *columns[name]]) for name, found in rows.items()}
    runs = frames.pop("runs")
    timing = pd.DataFrame({"run": runs["run"], "seconds": 1.0, "finished": 1.0, "hardware": "an abacus", "cores": 1})
    metrics = frames.pop("metrics")
    return Tables(experiment, metrics, runs, timing, {name: found for name, found in frames.items() if len(found)})


def _add(rows: dict[str, list[tuple]], made: Run, identity: tuple, cell: tuple, steps: Sequence[int]) -> None:
    scale, rate, activation = cell
    alive = [step for step in steps if made.diverged_at is None or step < made.diverged_at]
    for step in alive:
        for split in ("validation", "test"):
            rows["metrics"].append((*identity, step, step * 60, split, "accuracy", made.accuracy(step)))
        if step:
            rows["metrics"].append((*identity, step, step * 60, "train", "loss", made.loss(step)))
    status = "finished" if made.diverged_at is None else "diverged"
    last = steps[-1] if made.diverged_at is None else made.diverged_at
    rows["runs"].append(
        (*identity, status, last, steps[-1], "made up", identity[2], scale, rate, activation, "mnist")
    )  # fmt: skip
    if status == "finished":
        rows["drift"] += [(*identity, part, name, value) for (name, part), value in made.drift.items()]
    for step, weight in zip((0, steps[-1] // 2, steps[-1]), made.weights, strict=True):
        for layer in range(4):
            rows["norms"].append((*identity, step, layer, weight, made.gradient))
        for layer, share in enumerate(made.saturated):
            rows["saturation"].append((*identity, step, layer, share))


class Made:
    """What claims read, with these tables alone."""

    folder = Path("nowhere")

    def __init__(self, *found: Tables, treatment: str = "batch") -> None:
        self._by_name = {each.experiment: each for each in found}
        self.treatment = treatment

    def tables(self, experiment: str) -> Tables | None:
        return self._by_name.get(experiment)

    def measured(self, name: str) -> None:
        return None


def results(*found: Tables, treatment: str = "batch") -> Any:
    """As :class:`~bnrepro.tables.Results`, which reads files."""
    return Made(*found, treatment=treatment)
