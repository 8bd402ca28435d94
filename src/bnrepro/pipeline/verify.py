"""Whether the code still produces the committed tables: the first steps of a run per experiment and normaliser."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from rich.console import Console
from rich.table import Table

from bnrepro import data, tables
from bnrepro.claims.naming import BATCH
from bnrepro.config.build import from_record
from bnrepro.config.compose import experiments
from bnrepro.config.schema import Config
from bnrepro.data.fallback import JPEG_FOLDER
from bnrepro.errors import ConfigError, DataUnavailable
from bnrepro.runs import engines
from bnrepro.stats import BASELINE
from bnrepro.store import RunRecord
from bnrepro.training.checkpoint import Progress
from bnrepro.training.fleet import Block, Seat, needed
from bnrepro.training.loop import Trainer
from bnrepro.training.state import Placed

STEPS = 200
TOLERANCE = 1e-5
"""Relative. On the machine and with the versions that made a table, the numbers agree to the last digit."""
STEPS_ELSEWHERE = 20
TOLERANCE_ELSEWHERE = 1e-3
"""Of a run on a CUDA card that is replayed on a CPU: sums have another order, and training amplifies the difference."""


@dataclass(frozen=True)
class Comparison:
    """One run trained again: numbers compared, numbers equal to the last digit, the largest relative error.

    ``how`` names engine and device of the run, and the device here if it is another: the ``tolerance`` is then wider.
    """

    experiment: str
    run: str
    compared: int
    equal: int
    worst: float
    how: str = ""
    tolerance: float = TOLERANCE

    @property
    def agrees(self) -> bool:
        return self.compared > 0 and self.worst <= self.tolerance


def verify_all(results: Path, only: Sequence[str] | None, console: Console) -> int:
    """Verify the experiments that have a table below ``results``, or those in ``only``, and print a table.

    Returns 0 if all agree, 1 if one does not, 2 if the data of one are unavailable. Raises
    :class:`~bnrepro.errors.ConfigError` where there is no table to compare with.
    """
    held = tables.Results(results)
    held.check()
    names = list(only or experiments())
    tabulated = [name for name in names if held.tables(name) is not None]
    if missing := [name for name in names if name not in tabulated and (only or not tabulated)]:
        raise ConfigError(f"no table of {', '.join(missing)} in {results / 'tables'}: name others, or another folder")
    shown = Table("experiment", "run", "engine", "compared", "equal to the digit", "largest relative error")
    failed, missing = False, []
    for place, name in enumerate(tabulated, 1):
        for normaliser in _normalisers(name, results):
            text = f"[{place}/{len(tabulated)}] {name}: {STEPS} steps of one run with norm={normaliser}"
            console.print(text, highlight=False, markup=False)
            try:
                found = verify(name, results, normaliser)
            except DataUnavailable as error:
                missing.append(f"{name} is not compared: {error}")
                break
            failed |= not found.agrees
            shown.add_row(name, found.run, found.how, str(found.compared), str(found.equal), f"{found.worst:.1e}")
    console.print(shown)
    for line in missing:
        print(line, file=sys.stderr)
    if failed:
        print("the committed tables are not what this code produces: raise CODE_EPOCH and train again", file=sys.stderr)
    return 1 if failed else 2 if missing else 0


def _normalisers(experiment: str, results: Path) -> list[str]:
    """What an experiment's runs are normalised by; nothing, only if none of them is normalised."""
    found = tables.read_experiment(experiment, results)
    assert found is not None, experiment
    trained = found.runs.loc[found.runs["last_step"] > 0, "norm.name"]
    return sorted(set(trained) - {BASELINE}) or [BASELINE]


def verify(experiment: str, results: Path, normaliser: str = BATCH, root: str = JPEG_FOLDER) -> Comparison:
    """Train the first committed run with ``normaliser`` again for 200 steps, and compare every metric until then.

    ``root`` is the folder of images, for a run on one. Raises :class:`~bnrepro.errors.UserError` if a table is damaged
    or the data are unavailable.
    """
    found = tables.read_experiment(experiment, results)
    if found is None:
        return Comparison(experiment, "–", 0, 0, float("inf"))
    runs = found.runs[(found.runs["last_step"] > 0) & (found.runs["norm.name"] == normaliser)]
    run = str(runs["run"].iloc[0])
    config = from_record(experiment, record_of(experiment, run, results).config)
    if config.data.name == "image_folder":
        config.data.root = root  # a record does not hold the place of its data
    how, steps, tolerance = f"{config.engine}, {config.device}", STEPS, TOLERANCE
    if config.device == "cuda" and not torch.cuda.is_available():
        config.device, how, steps, tolerance = "cpu", f"{how}; here cpu", STEPS_ELSEWHERE, TOLERANCE_ELSEWHERE
    progress = _first_steps(config, steps)
    again = pd.DataFrame([line.split(",") for line in progress.tables["metrics"]], columns=list(tables.LONG[4:]))
    again = again.astype({"step": int, "value": float})
    committed = found.metrics[found.metrics["run"] == run]
    both = committed.merge(again, on=["step", "split", "metric"], suffixes=("_committed", "_again"))
    scale = both["value_committed"].abs().clip(lower=1e-12)
    errors = (both["value_again"] - both["value_committed"]).abs() / scale
    return Comparison(experiment, run, len(both), int((errors == 0).sum()), float(errors.max()), how, tolerance)


def _first_steps(config: Config, steps: int) -> Progress:
    """Train the first steps of a run by its own engine, a fleet's run without company."""
    dataset = data.load(config.data)
    state = Trainer(config, dataset) if config.engine == engines.ALONE else Seat(config, Placed.of(config, dataset))
    # Stopped early instead of configured shorter: the learning rate may depend on the length of the run.
    state.evaluations = frozenset(step for step in state.evaluations if step <= steps)
    for probe in state.probes:
        probe.steps = frozenset(step for step in probe.steps if step <= steps)
    if isinstance(state, Trainer):
        return state.run()
    Block(state, needed(state, engines.places(config.engine), 1)).train([state], lambda seat: None)
    return state.progress


def record_of(experiment: str, run: str, results: Path) -> RunRecord:
    """One run's record, from the tables below ``results``."""
    held = tables.Results(results)
    row, timing = (
        next(row for row in held.records(f"{experiment}.{kind}") if row["run"] == run) for kind in ("runs", "timing")
    )
    return held.record(experiment, row, timing)
