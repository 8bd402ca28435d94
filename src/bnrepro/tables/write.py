"""Finished runs as tidy tables: each line of a run, digit for digit, after the columns that identify the run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bnrepro import store
from bnrepro.errors import StoreError
from bnrepro.store.record import IDENTITY, RUN_COLUMNS, RunRecord, csv_line
from bnrepro.tables.read import runs_held

METRICS = "metrics.csv"


@dataclass(frozen=True)
class _Finished:
    """A finished run whose files are whole: its record, and the header and digest of each of its tables."""

    folder: store.RunFolder
    record: RunRecord
    headers: dict[str, str]
    digests: dict[str, str]

    @classmethod
    def read(cls, folder: store.RunFolder) -> _Finished:
        record, files = folder.read()
        headers = {
            name: content.partition(b"\n")[0].decode() for name, content in files.items() if name.endswith(".csv")
        }
        return cls(folder, record, headers, folder.digests())

    def lines(self, name: str) -> str:
        """The lines of a table, each after the columns that identify the run."""
        _, _, body = self.folder.file(name, self.digests[name]).decode().partition("\n")
        prefix = self.record.prefix()
        return prefix + body.removesuffix("\n").replace("\n", f"\n{prefix}") + "\n" if body else ""


def collect(experiment: str, runs: Iterable[store.RunFolder]) -> dict[str, Iterable[str]]:
    """The CSV texts of an experiment's tables, in pieces by table name, from its finished runs.

    The runs are sorted, so that the tables do not depend on the order of training. Their lines are copied unchanged,
    one run at a time: many runs need no more memory than few. Raises :class:`StoreError`, before the first piece, for a
    damaged run, or one whose columns differ from those of the others.
    """
    found = sorted((_Finished.read(run) for run in runs), key=lambda run: _order(run.record))
    if not found:
        return {}
    headers: dict[str, str] = {}
    for run in found:
        for name, header in run.headers.items():
            if headers.setdefault(name, header) != header:
                raise StoreError(f"{run.record.run}: the columns of {name} differ from those of the other runs")
    texts: dict[str, Iterable[str]] = {}
    for name in sorted(headers):
        suffix = "" if name == METRICS else f".{name.removesuffix('.csv')}"
        texts[experiment + suffix] = _pieces(name, headers[name], found)
    texts[f"{experiment}.runs"] = [as_csv([run.record.run_row() for run in found], RUN_COLUMNS)]
    texts[f"{experiment}.timing"] = [as_csv([run.record.timing_row() for run in found], IDENTITY)]
    return texts


def _pieces(name: str, header: str, runs: Sequence[_Finished]) -> Iterator[str]:
    yield f"{','.join(IDENTITY)},{header}\n"
    for run in runs:
        if name in run.headers:
            yield run.lines(name)


def write_experiment(name: str, runs: Iterable[store.RunFolder], results: Path) -> list[Path]:
    """Write the tables of an experiment below ``results``, and remove those without a run. Returns their paths."""
    return store.write_tables(results / "tables", name, collect(name, runs))


def held(experiment: str, runs: Sequence[store.RunFolder], results: Path) -> list[store.RunFolder]:
    """Those of ``runs`` that are in the tables of an experiment below ``results``.

    The tables need not fit their digests: a call that was killed while it wrote them is about to be made again. Raises
    :class:`StoreError` if the table of runs is damaged, so that nobody can tell what writing it anew would lose.
    """
    names = runs_held(experiment, results) if runs else set()
    return [run for run in runs if run.name in names]


def write_measurement(run: store.RunFolder, results: Path) -> list[Path]:
    """Write a measurement's ``X.csv`` and ``X.meta.csv`` below ``results``. Returns their paths."""
    record, files = run.read()
    name = record.experiment
    meta = as_csv([record.measurement_row()], ["key"])
    return store.write_tables(results / "tables", name, {name: [files[f"{name}.csv"].decode()], f"{name}.meta": [meta]})


def as_csv(rows: Sequence[Mapping[str, Any]], first: Sequence[str]) -> str:
    """Rows, whose keys may differ, as CSV: the columns ``first``, then all others in order of appearance."""
    columns = list(dict.fromkeys([*first, *(key for row in rows for key in row)]))
    lines = [csv_line(columns), *(csv_line(row.get(column, "") for column in columns) for row in rows)]
    return "".join(f"{line}\n" for line in lines)


def _order(record: RunRecord) -> tuple[Any, ...]:
    """Sort key: arm, data, all scientific values, seed; numbers are compared as numbers."""
    factors = tuple(
        (key, isinstance(value, str), value)
        for key, value in record.flat_config().items()
        if key != "seed" and isinstance(value, (int, float, str))
    )
    return record.arm, record.fingerprint, factors, record.seed
