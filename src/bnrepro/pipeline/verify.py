"""Does the code still produce the committed tables? One run of each experiment again, its first steps only."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from bnrepro import data, tables
from bnrepro.config.identity import from_hydra, unflatten
from bnrepro.config.schema import Config, register_schema
from bnrepro.training.loop import Trainer

STEPS = 200
IMAGES = "cifar10_jpeg"
"""The image folder that the committed runs were trained on, below $BNREPRO_DATA or data/."""
TOLERANCE = 1e-5
"""Relative; on the machine and with the pins that made a table the numbers agree to the last digit written."""


@dataclass(frozen=True)
class Comparison:
    """One run again: how many numbers were compared, how many are equal to the digit, the largest relative error."""

    experiment: str
    run: str
    compared: int
    equal: int
    worst: float

    @property
    def agrees(self) -> bool:
        return self.compared > 0 and self.worst <= TOLERANCE


def verify(experiment: str, results: Path, root: str = IMAGES) -> Comparison:
    """Train the first committed run with a normaliser again for 200 steps and compare every metric on the way.

    Raises :class:`~bnrepro.errors.UserError` if there is no table, or its data are not to be had.
    """
    found = tables.read_experiment(experiment, results)
    if found is None:
        return Comparison(experiment, "–", 0, 0, float("inf"))
    runs = found.runs[found.runs["last_step"] > 0]
    row = runs.loc[runs["arm"] != "none"].iloc[0] if (runs["arm"] != "none").any() else runs.iloc[0]
    config = config_of(row)
    if config.data.name == "image_folder":
        config.data.root = root  # a place is not part of a record
    trainer = Trainer(config, data.load(config.data))
    # Stopped early, not made shorter: the learning rate may depend on the length of the run.
    trainer.evaluations = frozenset(step for step in trainer.evaluations if step <= STEPS)
    progress = trainer.run()
    again = pd.DataFrame([line.split(",") for line in progress.tables["metrics"]], columns=tables.LONG[4:])
    again = again.astype({"step": int, "value": float})
    committed = found.metrics[found.metrics["run"] == row["run"]]
    both = committed.merge(again, on=["step", "split", "metric"], suffixes=("_committed", "_again"))
    scale = both["value_committed"].abs().clip(lower=1e-12)
    errors = (both["value_again"] - both["value_committed"]).abs() / scale
    return Comparison(experiment, str(row["run"]), len(both), int((errors == 0).sum()), float(errors.max()))


def config_of(row: pd.Series) -> Config:
    """The configuration that a row of ``X.runs.csv`` records."""
    register_schema()
    described = list(row.index).index("commit") + 1
    flat: dict[str, Any] = {}
    for key, value in row.iloc[described:].items():
        if not pd.isna(value):
            plain = value.item() if hasattr(value, "item") else value
            flat[str(key)] = json.loads(plain) if isinstance(plain, str) and plain.startswith("[") else plain
    tree = unflatten(flat) | {"experiment": str(row["experiment"]), "seed": int(row["seed"])}
    # A probe that was off left no settings in the record: off it stays, whatever they are.
    activations_off = {"activations": {"enabled": False, "growth": 1.0, "min_interval": 1, "max_interval": 1}}
    tree["probes"] = activations_off | tree.get("probes", {})
    schema = ConfigStore.instance().load(f"schema/model/{tree['model']['name']}.yaml").node
    node = OmegaConf.structured(Config)
    node.model = schema
    merged = OmegaConf.merge(node, tree)
    assert isinstance(merged, DictConfig)
    return from_hydra(merged)
