"""Tables with known answers, written as runs would write them: for the tests of claims, figures and reports."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
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

    A finished run is made as long as its curves. ``more`` are further tables (name → CSV text), or ``status`` and
    ``last_step``.
    """
    status, last_step = str(more.pop("status", "finished")), more.pop("last_step", steps[-1])
    if status == "finished":
        config = replace(config, steps=steps[-1])
    planned = run.plan(config)
    lines = [
        f"{step},{step * config.batch_size},{name.replace('/', ',')},{value(config.seed, step):.6g}"
        for step in steps
        for name, value in curves.items()
    ]
    record = RunRecord(
        run=planned.folder.name, key=planned.key, experiment=config.experiment, arm=arm_label(config),
        seed=config.seed, status=status, last_step=last_step,
        data="made up", fingerprint="0" * 16, config=scientific(config),
        versions={"python": "3", "torch": "2", "numpy": "2", "commit": "c0ffee"},
        machine={"hardware": "an abacus", "cores": 1}, seconds=1.0, finished=1.0,
    )  # fmt: skip
    files = {"metrics.csv": "\n".join([METRICS_HEADER, *lines, ""])}
    files |= {f"{name}.csv": str(text) for name, text in more.items()}
    planned.folder.path.mkdir(parents=True, exist_ok=True)
    planned.folder.finish(record, files)
    return planned.folder


def vouch(folder: Path) -> None:
    """Digests for the tables below ``folder`` as they are now, as ``sha256sum`` writes them."""
    tables = folder / "tables"
    paths = sorted(path for path in tables.iterdir() if path.name.endswith((".csv", ".csv.gz")))
    sums = (f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in paths)
    (tables / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")


def publish(experiment: str, folder: Path) -> None:
    """The tables of every fabricated run of ``experiment`` below ``folder``."""
    tables.write_experiment(experiment, store.runs_of(experiment), folder)
