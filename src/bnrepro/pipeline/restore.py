"""Turn committed tables back into finished runs, so that a fresh clone trains only what they do not hold."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from bnrepro import tables
from bnrepro.config.compose import Composer
from bnrepro.config.identity import scientific
from bnrepro.config.schedule import evaluations
from bnrepro.errors import StoreError
from bnrepro.measurements.base import Measurement
from bnrepro.pipeline.plan import Plan, Request
from bnrepro.runs import lifecycle
from bnrepro.runs.planned import Planned
from bnrepro.store import RunRecord
from bnrepro.store.record import IDENTITY
from bnrepro.store.tables import WAY_FORWARD


def restore_all(results: Path, profile: str, console: Console) -> None:
    """Restore every run and measurement of a profile that the tables below ``results`` hold.

    Raises :class:`StoreError`, before anything is written, if these do not fit their digests or one another.
    """
    held = tables.Results(results)
    held.check()
    with Composer() as composer:
        plan = Plan(composer, Request(profile), console)
        for name, planned in plan.runs.items():
            count = restore_runs(name, planned, held)
            console.print(f"{name}: {count} of {len(planned)} runs restored", highlight=False)
        for name in plan.measurements:
            found = restore_measurement(plan.measurement(name, with_networks=False), held)
            console.print(f"{name}: {'restored' if found else 'left as it is'}", highlight=False)


def restore_runs(experiment: str, planned: Sequence[Planned], results: tables.Results) -> int:
    """Fill the folders of those ``planned`` runs that the tables of ``results`` hold. Returns their number.

    A run is restored only if its key is the one that the code computes: never for another configuration, data set or
    epoch of the code. Tables hold no networks, so runs that keep theirs are left to be trained. Raises
    :class:`StoreError`, before the first run is restored, for one with an unexpected name or without all its steps.
    """
    found = results.tables(experiment)
    if found is None:
        return 0
    missing = [item for item in planned if not item.config.keep_weights and not item.folder.is_done()]
    wanted = {each.key: each for item in missing for each in (item, *item.others)}
    rows = [row for row in results.records(f"{experiment}.runs") if row["key"] in wanted]
    times = {row["run"]: row for row in results.records(f"{experiment}.timing")} if rows else {}
    restored = []
    for row in rows:
        item, record = wanted[row["key"]], results.record(experiment, row, times[row["run"]])
        if record.run != item.folder.name:
            raise _unfit(results, experiment, record.run, f"it should be named {item.folder.name}")
        _check_steps(results, found, item, record)
        restored.append((item, dataclasses.replace(record, config=scientific(item.config))))
    lines = {name: _lines(experiment, name, results, restored) for name in ("metrics", *found.probes)} if rows else {}
    for item, record in restored:
        files = {
            f"{name}.csv": "\n".join([header, *by_run[record.run], ""])
            for name, (header, by_run) in lines.items()
            if record.run in by_run
        }
        lifecycle.complete(item.folder, lambda record=record, files=files: (record, files))
    return len(rows)


def restore_measurement(planned: Measurement, results: tables.Results) -> bool:
    """Fill a measurement's folder from its table in ``results``. Returns whether it did.

    The table must have the key that the code computes.
    """
    name = planned.name
    if planned.folder.is_done() or results.measured(name) is None:
        return False
    [row] = results.records(f"{name}.meta")
    if row["key"] != planned.key:
        return False
    record = planned.record(row["data"], row, float(row["seconds"]))
    lifecycle.complete(planned.folder, lambda: (record, {f"{name}.csv": results.text(name)}))
    return True


def _check_steps(results: tables.Results, found: tables.Tables, item: Planned, record: RunRecord) -> None:
    """Raise :class:`StoreError` unless the run has lines of exactly the steps at which it was evaluated."""
    due = evaluations(item.config.steps, item.config.evaluation)
    reached = record.last_step if record.status == "finished" else record.last_step - 1
    steps = set(found.metrics.loc[found.metrics["run"] == record.run, "step"])
    if odd := steps ^ {step for step in due if step <= reached}:
        reason = "has lines of" if min(odd) in steps else "has no lines of"
        raise _unfit(results, found.experiment, record.run, f"it {reason} step {min(odd)}")


def _unfit(results: tables.Results, experiment: str, run: str, reason: str) -> StoreError:
    return StoreError(f"{results.folder / 'tables' / experiment}.csv, run {run}: {reason}. {WAY_FORWARD}")


def _lines(
    experiment: str, name: str, results: tables.Results, restored: Sequence[tuple[Planned, RunRecord]]
) -> tuple[str, Mapping[str, list[str]]]:
    """A table's header, and its lines by run, without the columns that identify the run: as the runs wrote them."""
    text = results.text(experiment if name == "metrics" else f"{experiment}.{name}")
    header, *lines = text.removesuffix("\n").split("\n")
    prefixes = {record.run: record.prefix() for _, record in restored}
    by_run: dict[str, list[str]] = {}
    run, prefix = "", None
    for line in lines:
        if prefix is None or not line.startswith(prefix):
            run = next(csv.reader([line]))[0]
            prefix = prefixes.get(run)
        if prefix is not None:
            by_run.setdefault(run, []).append(line.removeprefix(prefix))
    return header.split(",", len(IDENTITY))[-1], by_run
