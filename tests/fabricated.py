"""Tables with known answers, written as runs would write them: for the tests of claims, figures and reports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bnrepro import store, tables
from bnrepro.config.identity import arm_label, scientific
from bnrepro.config.schema import Config
from bnrepro.runs import run
from bnrepro.store import RunRecord
from bnrepro.training.state import METRICS_HEADER

Curve = Callable[[int, int], float]
"""(seed, step) → value."""


def finish(config: Config, curves: dict[str, Curve], steps: list[int], **more: object) -> store.RunFolder:
    """A finished run of ``config`` whose ``split/metric`` values are those of ``curves`` at ``steps``.

    ``more`` are further tables (name → CSV text), or ``status`` and ``last_step``.
    """
    planned = run.plan(config)
    lines = [
        f"{step},{step * config.batch_size},{name.replace('/', ',')},{value(config.seed, step):.6g}"
        for step in steps
        for name, value in curves.items()
    ]
    record = RunRecord(
        run=planned.folder.name, key=planned.key, experiment=config.experiment, arm=arm_label(config),
        seed=config.seed, status=str(more.pop("status", "finished")), last_step=more.pop("last_step", config.steps),
        data="made up", fingerprint="0" * 16, config=scientific(config),
        versions={"python": "3", "torch": "2", "numpy": "2", "commit": "c0ffee"},
        machine={"hardware": "an abacus", "cores": 1}, seconds=1.0, finished=1.0,
    )  # fmt: skip
    files = {"metrics.csv": "\n".join([METRICS_HEADER, *lines, ""])}
    files |= {f"{name}.csv": str(text) for name, text in more.items()}
    planned.folder.path.mkdir(parents=True, exist_ok=True)
    planned.folder.finish(record, files)
    return planned.folder


def publish(experiment: str, folder: Path) -> None:
    """The tables of every fabricated run of ``experiment`` below ``folder``."""
    tables.write_experiment(experiment, store.runs_of(experiment), folder)
