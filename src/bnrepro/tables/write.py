"""Finished runs as tidy tables: a run's own lines, digit for digit, behind what identifies it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bnrepro import store
from bnrepro.errors import StoreError
from bnrepro.store.record import IDENTITY, RUN_COLUMNS, RunRecord
from bnrepro.tables.read import read_table


def collect(experiment: str, runs: Iterable[store.RunFolder]) -> dict[str, str]:
    """The CSV texts of an experiment's tables, by table name, from its finished runs; sorted, so that neither the
    order of training nor the launcher shows.

    A run's own lines are taken over as they stand: a table says, to the digit, what the run wrote.
    Raises :class:`StoreError` for a run that is not as it was written.
    """
    found = sorted((_read(run) for run in runs), key=lambda item: _order(item[0]))
    if not found:
        return {}
    texts = {}
    for name in sorted({name for _, files in found for name in files}):
        suffix = "" if name == "metrics.csv" else f".{name.removesuffix('.csv')}"
        lines, header = [], ""
        for record, files in found:
            if name in files:
                prefix = "".join(f"{getattr(record, column)}," for column in IDENTITY)
                head, _, body = files[name].partition("\n")
                header = header or head
                if head != header:
                    raise StoreError(f"{record.run}: {name} has other columns than the runs before it")
                lines += [prefix + line for line in body.splitlines()]
        texts[experiment + suffix] = "\n".join([",".join(IDENTITY) + "," + header, *lines, ""])
    texts[f"{experiment}.runs"] = as_csv([record.run_row() for record, _ in found], RUN_COLUMNS)
    texts[f"{experiment}.timing"] = as_csv([record.timing_row() for record, _ in found], IDENTITY)
    return texts


def write_experiment(name: str, runs: Iterable[store.RunFolder], results: Path) -> list[Path]:
    """Build the tables of an experiment below ``results``; a table that no run contributes to is removed."""
    folder = results / "tables"
    texts = collect(name, runs)
    for stale in folder.glob(f"{name}.*csv*"):
        if stale.name.removesuffix(".gz").removesuffix(".csv") not in texts:
            stale.unlink()
    return [store.write_table(folder, title, text) for title, text in texts.items()]


def held(experiment: str, runs: Iterable[store.RunFolder], results: Path) -> list[store.RunFolder]:
    """Those of ``runs`` that the tables of an experiment below ``results`` hold."""
    try:
        frame = read_table(results / "tables", f"{experiment}.runs", ["run"])
    except StoreError:
        return []  # not a whole table: what it held is gone already
    names = set() if frame is None else set(frame["run"])
    return [run for run in runs if run.name in names]


def write_measurement(run: store.RunFolder, results: Path) -> list[Path]:
    """A measurement's table below ``results``, and ``X.meta.csv``: its key, settings, versions, hardware, seconds."""
    record, files = _read(run)
    folder, name = results / "tables", record.experiment
    table = store.write_table(folder, name, files[f"{name}.csv"])
    return [table, store.write_table(folder, f"{name}.meta", as_csv([record.measurement_row()], ["key"]))]


def as_csv(rows: Sequence[Mapping[str, Any]], first: Sequence[str]) -> str:
    """Rows with unequal keys as one table: ``first``, then every other column in the order of its appearance."""
    columns = list(dict.fromkeys([*first, *(key for row in rows for key in row)]))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _read(run: store.RunFolder) -> tuple[RunRecord, dict[str, str]]:
    """A finished run's record, and its tables as text."""
    record, files = run.read()
    return record, {name: content.decode() for name, content in files.items() if name.endswith(".csv")}


def _order(record: RunRecord) -> tuple[Any, ...]:
    """Arms by name, then by every scientific value, then seeds: numbers as numbers."""
    factors = tuple(
        (key, isinstance(value, str), value)
        for key, value in record.flat_config().items()
        if key != "seed" and isinstance(value, (int, float, str))
    )
    return record.arm, record.fingerprint, factors, record.seed
