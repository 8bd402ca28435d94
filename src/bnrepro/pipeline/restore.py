"""Committed tables back to finished runs, so that a fresh clone trains only what they do not hold."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bnrepro import tables
from bnrepro.config.identity import arm_label, scientific
from bnrepro.errors import StoreError
from bnrepro.runs.run import Planned
from bnrepro.tables import IDENTITY

VERSIONS = ("python", "torch", "numpy", "commit")


def restore(experiment: str, planned: Sequence[Planned], results: Path) -> int:
    """Write the folders of those ``planned`` runs that the tables below ``results`` hold; how many there were.

    A run is taken over only if its key is the one that the code computes, so never for another configuration, data set
    or epoch of the code. Runs whose networks are kept cannot come from tables, and are left to be trained.
    """
    found = tables.read_experiment(experiment, results)
    if found is None:
        return 0
    wanted = {item.key: item for item in planned if not item.config.keep_weights and not item.folder.is_done()}
    # As they stand in the files, not as a data frame reads them: a commit may look like a number.
    rows = [row for row in _records(f"{experiment}.runs", results) if row["key"] in wanted]
    times = {row["run"]: row for row in _records(f"{experiment}.timing", results)}
    lines = {name: _lines(experiment, name, results) for name in ("metrics", *found.probes)} if rows else {}
    for row in rows:
        item = wanted[row["key"]]
        if row["run"] != item.folder.name:
            raise StoreError(f"{results / 'tables'}: the run {row['run']} should be named {item.folder.name}")
        files: dict[str, str | bytes] = {
            f"{name}.csv": "\n".join([header, *by_run[item.folder.name], ""])
            for name, (header, by_run) in lines.items()
            if item.folder.name in by_run
        }
        files["meta.json"] = json.dumps(_meta(item, row, times[row["run"]]), indent=1)
        item.folder.path.mkdir(parents=True, exist_ok=True)
        with item.folder.lock():
            if not item.folder.is_done():
                item.folder.finish(files)
    return len(rows)


def _lines(experiment: str, name: str, results: Path) -> tuple[str, dict[str, list[str]]]:
    """A table's header and lines by run, without what identifies the run: as the runs themselves wrote them."""
    text = tables.text_of(results / "tables", experiment if name == "metrics" else f"{experiment}.{name}")
    header, *lines = text.splitlines()
    by_run: dict[str, list[str]] = {}
    for line in lines:
        run, *_, rest = line.split(",", len(IDENTITY))
        by_run.setdefault(run, []).append(rest)
    return header.split(",", len(IDENTITY))[-1], by_run


def _records(name: str, results: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(tables.text_of(results / "tables", name))))


def _meta(item: Planned, row: dict[str, str], timing: dict[str, str]) -> dict[str, Any]:
    """The record of a run, from its rows in the tables of runs and of times."""
    return {
        "run": row["run"],
        "key": item.key,
        "experiment": item.config.experiment,
        "arm": arm_label(item.config),
        "seed": item.config.seed,
        "status": row["status"],
        "last_step": int(row["last_step"]),
        "data": row["data"],
        "fingerprint": row["fingerprint"],
        "config": scientific(item.config),
        "versions": {name: row[name] for name in VERSIONS},
        "machine": {"hardware": timing["hardware"], "cores": int(timing["cores"])},
        "seconds": float(timing["seconds"]),
        "finished": float(timing["finished"]),
    }
