"""Turn committed tables back into finished runs, so that a fresh clone trains only what they do not hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from bnrepro import tables
from bnrepro.config.compose import Composer
from bnrepro.config.identity import scientific
from bnrepro.errors import StoreError
from bnrepro.measurements.base import Measurement
from bnrepro.pipeline.plan import Plan, Request
from bnrepro.runs import lifecycle
from bnrepro.runs.run import Planned
from bnrepro.store import RunRecord
from bnrepro.store.record import IDENTITY


def restore_all(results: Path, profile: str, console: Console) -> None:
    """Restore every run and measurement of a profile that the tables below ``results`` hold."""
    with Composer() as composer:
        plan = Plan(composer, Request(profile), console)
        for name, planned in plan.runs.items():
            count = restore_runs(name, planned, results)
            console.print(f"{name}: {count} of {len(planned)} runs restored", highlight=False)
        for name in plan.measurements:
            found = restore_measurement(plan.measurement(name, with_networks=False), results)
            console.print(f"{name}: {'restored' if found else 'left as it is'}", highlight=False)


def restore_runs(experiment: str, planned: Sequence[Planned], results: Path) -> int:
    """Fill the folders of those ``planned`` runs that the tables below ``results`` hold. Returns their number.

    A run is restored only if its key is the one that the code computes: never for another configuration, data set or
    epoch of the code. Tables hold no networks, so runs that keep theirs are left to be trained. Raises
    :class:`StoreError` for a run with an unexpected name.
    """
    found = tables.read_experiment(experiment, results)
    if found is None:
        return 0
    folder = results / "tables"
    wanted = {item.key: item for item in planned if not item.config.keep_weights and not item.folder.is_done()}
    rows = [row for row in tables.records(folder, f"{experiment}.runs") if row["key"] in wanted]
    times = {row["run"]: row for row in tables.records(folder, f"{experiment}.timing")}
    lines = {name: _lines(experiment, name, folder) for name in ("metrics", *found.probes)} if rows else {}
    for row in rows:
        item = wanted[row["key"]]
        if row["run"] != item.folder.name:
            raise StoreError(f"{folder}: the run {row['run']} should be named {item.folder.name}")
        record = dataclasses.replace(RunRecord.from_rows(row, times[row["run"]]), config=scientific(item.config))
        files = {
            f"{name}.csv": "\n".join([header, *by_run[record.run], ""])
            for name, (header, by_run) in lines.items()
            if record.run in by_run
        }
        lifecycle.complete(item.folder, lambda record=record, files=files: (record, files))
    return len(rows)


def restore_measurement(planned: Measurement, results: Path) -> bool:
    """Fill a measurement's folder from its table below ``results``. Returns whether it did.

    The table must have the key that the code computes.
    """
    folder, name = results / "tables", planned.name
    if planned.folder.is_done() or tables.read_measurement(name, results) is None:
        return False
    [row] = tables.records(folder, f"{name}.meta")
    if row["key"] != planned.key:
        return False
    record = planned.record(row["data"], row, float(row["seconds"]))
    lifecycle.complete(planned.folder, lambda: (record, {f"{name}.csv": tables.text_of(folder, name)}))
    return True


def _lines(experiment: str, name: str, folder: Path) -> tuple[str, Mapping[str, list[str]]]:
    """A table's header, and its lines by run, without the columns that identify the run: as the runs wrote them."""
    text = tables.text_of(folder, experiment if name == "metrics" else f"{experiment}.{name}")
    header, *lines = text.splitlines()
    by_run: dict[str, list[str]] = {}
    for line in lines:
        run, *_, rest = line.split(",", len(IDENTITY))
        by_run.setdefault(run, []).append(rest)
    return header.split(",", len(IDENTITY))[-1], by_run
