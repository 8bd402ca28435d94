"""The figures of a results folder, drawn on all cores."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bnrepro.claims import EXPERIMENTS, style
from bnrepro.errors import ConfigError, Interrupted
from bnrepro.store.workers import Emit, WorkerDied, side_by_side
from bnrepro.tables import Results


def draw(results: Results, only: Sequence[str] = ()) -> list[Path]:
    """The figures of every experiment that has tables; of those in ``only``, if any are named.

    A figure whose bytes do not change is not written again. Raises :class:`ConfigError` for an unknown name.
    """
    if unknown := [name for name in only if name not in EXPERIMENTS]:
        raise ConfigError(f"no experiment {', '.join(unknown)}: choose from {', '.join(EXPERIMENTS)}")
    tables = {path.name.partition(".")[0] for path in (results.folder / "tables").glob("*.csv*")}
    names = [name for name in EXPERIMENTS if name in tables and (not only or name in only)]
    workers = min(os.cpu_count() or 1, len(names) // 3)
    if workers < 2:
        return [path for name in names for path in _figures(results.folder, results.treatment, name)]
    tasks = [(results.folder, results.treatment, name) for name in names]
    drawn: dict[int, list[Path]] = {}
    try:
        for event in side_by_side(_draw, tasks, workers):
            if event.kind == "error":
                raise event.value
            if event.kind == "result":
                drawn[event.task] = event.value
    except WorkerDied as error:
        raise Interrupted("a process that drew figures was killed: out of memory? Call again.") from error
    return [path for _, paths in sorted(drawn.items()) for path in paths]


def _draw(task: tuple[Path, str, str], emit: Emit) -> list[Path]:
    return _figures(*task)


def _figures(folder: Path, treatment: str, name: str) -> list[Path]:
    with style.house_style():
        return style.save(EXPERIMENTS[name].figures(Results(folder, treatment)), folder / "figures")
