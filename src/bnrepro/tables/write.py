"""Finished runs as tidy tables: each line of a run, digit for digit, after the columns that identify the run."""

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
    """The CSV texts of an experiment's tables, by table name, from its finished runs.

    The runs are sorted, so that the tables do not depend on the order of training. Their lines are copied unchanged.
    Raises :class:`StoreError` for a damaged run, or one whose columns differ from those of the others.
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
                    raise StoreError(f"{record.run}: the columns of {name} differ from those of the other runs")
                lines += [prefix + line for line in body.splitlines()]
        texts[experiment + suffix] = "\n".join([",".join(IDENTITY) + "," + header, *lines, ""])
    texts[f"{experiment}.runs"] = as_csv([record.run_row() for record, _ in found], RUN_COLUMNS)
    texts[f"{experiment}.timing"] = as_csv([record.timing_row() for record, _ in found], IDENTITY)
    return texts


def write_experiment(name: str, runs: Iterable[store.RunFolder], results: Path) -> list[Path]:
    """Write the tables of an experiment below ``results``, and remove those without a run. Returns their paths."""
    folder = results / "tables"
    texts = collect(name, runs)
    for stale in folder.glob(f"{name}.*csv*"):
        if stale.name.removesuffix(".gz").removesuffix(".csv") not in texts:
            stale.unlink()
    return [store.write_table(folder, title, text) for title, text in texts.items()]


def held(experiment: str, runs: Iterable[store.RunFolder], results: Path) -> list[store.RunFolder]:
    """Those of ``runs`` that are in the tables of an experiment below ``results``."""
    try:
        frame = read_table(results / "tables", f"{experiment}.runs", ["run"])
    except StoreError:
        return []  # a damaged table has lost its runs already
    names = set() if frame is None else set(frame["run"])
    return [run for run in runs if run.name in names]


def write_measurement(run: store.RunFolder, results: Path) -> list[Path]:
    """Write a measurement's ``X.csv`` and ``X.meta.csv`` below ``results``. Returns their paths."""
    record, files = _read(run)
    folder, name = results / "tables", record.experiment
    table = store.write_table(folder, name, files[f"{name}.csv"])
    return [table, store.write_table(folder, f"{name}.meta", as_csv([record.measurement_row()], ["key"]))]


def as_csv(rows: Sequence[Mapping[str, Any]], first: Sequence[str]) -> str:
    """Rows, whose keys may differ, as CSV: the columns ``first``, then all others in order of appearance."""
    columns = list(dict.fromkeys([*first, *(key for row in rows for key in row)]))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _read(run: store.RunFolder) -> tuple[RunRecord, dict[str, str]]:
    """A finished run's record, and its tables as text by file name."""
    record, files = run.read()
    return record, {name: content.decode() for name, content in files.items() if name.endswith(".csv")}


def _order(record: RunRecord) -> tuple[Any, ...]:
    """Sort key: arm, data, all scientific values, seed; numbers are compared as numbers."""
    factors = tuple(
        (key, isinstance(value, str), value)
        for key, value in record.flat_config().items()
        if key != "seed" and isinstance(value, (int, float, str))
    )
    return record.arm, record.fingerprint, factors, record.seed
