"""Tables as checked data frames, and the tables of one results folder for whoever reads them."""

from __future__ import annotations

import csv
import functools
import gzip
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from bnrepro import store
from bnrepro.errors import StoreError
from bnrepro.store import RunRecord
from bnrepro.store.record import IDENTITY, RUN_COLUMNS, TIMING_COLUMNS, VERSIONS
from bnrepro.store.tables import WAY_FORWARD
from bnrepro.tables import checks

LONG = (*IDENTITY, "step", "examples", "split", "metric", "value")
COMPARISON = "comparison"
"""The only table that belongs to neither runs nor a measurement."""
WHOLE = ("step", "seed", "last_step")
NUMBERS = (*WHOLE, "value", "seconds")
TEXT = (
    "run", "experiment", "arm", "key", "status", "data", "fingerprint", *VERSIONS, "hardware", "split", "metric",
    "claim", "normaliser", "profile", "where", "said", "why", "cells",
)  # fmt: skip
"""Columns that hold text even where it looks like a number: a data set may be called 2024, and a commit 1e5."""


@dataclass
class Tables:
    """An experiment's tables: ``metrics`` is ``X.csv``, ``probes`` maps the name of each probe to its table."""

    experiment: str
    metrics: pd.DataFrame
    runs: pd.DataFrame
    timing: pd.DataFrame
    probes: dict[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def data_label(self) -> str:
        """The name of the runs' data in figures and tables."""
        return ", ".join(sorted(set(self.runs["data"])))


@dataclass
class Measured:
    """A measurement's table, and the row of its ``X.meta.csv``."""

    name: str
    frame: pd.DataFrame
    meta: pd.Series

    @property
    def data_label(self) -> str:
        """The name of its data; empty where it has none, as the check of a formula."""
        named = self.frame["data"] if "data" in self.frame else pd.Series([self.meta["data"]])
        return " and ".join(sorted({str(name) for name in named.dropna()} - {""}))


@dataclass(frozen=True, eq=False)  # hashed by identity, so that each instance has a cache of its own
class Results:
    """The tables of one results folder, for the comparison of ``treatment`` with the network without it.

    ``own`` is a folder of a user's (``--config-dir``), whose claims are asked as well.
    This is the one way to the tables. What it gives fits its digests and fits together; else it raises
    :class:`StoreError`, which names the table and what is wrong with it. Each table is read once.
    """

    folder: Path
    treatment: str = "batch"
    own: Path | None = None

    @functools.cache  # noqa: B019 - lives as long as one report
    def tables(self, experiment: str) -> Tables | None:
        """The tables of an experiment; None if there are none, as for a measurement."""
        folder, names = self._checked(), self._names(experiment)
        if not names or f"{experiment}.meta" in names:
            return None
        digests = {name: digest for name, digest in self._digests().items() if name.startswith(f"{experiment}.")}
        known = _known.get((folder, experiment))
        if known is None or known[0] != digests:
            known = _known[folder, experiment] = digests, self._read_tables(folder, experiment, names)
        return known[1]

    def _read_tables(self, folder: Path, experiment: str, names: set[str]) -> Tables:
        self._require_all(experiment, _of_runs(experiment), names)
        main, runs_name, timing_name = _of_runs(experiment)
        runs = _read(folder, runs_name, (*RUN_COLUMNS, *VERSIONS))
        _require(folder, runs_name, checks.check_runs, experiment, runs)
        timing = _read(folder, timing_name, TIMING_COLUMNS, exactly=True)
        _require(folder, timing_name, checks.check_timing, timing, runs)
        metrics = _read(folder, main, LONG, exactly=True)
        _require(folder, main, checks.check_metrics, metrics, runs)
        probes = {}
        for name in sorted(names - {main, runs_name, timing_name}):
            probe = probes[name.removeprefix(f"{experiment}.")] = _read(folder, name, IDENTITY)
            _require(folder, name, checks.check_probe, probe, runs)
        return Tables(experiment, metrics, runs, timing, probes)

    def asked_of(self, treatment: str) -> Results:
        """The same tables, each still read once, for the comparison of another ``treatment`` with the network without
        it."""
        return self if treatment == self.treatment else _Shared(self.folder, treatment, self.own, self)

    def beside(self, experiment: str) -> Tables | None:
        """As :meth:`tables`, for numbers that a claim prints beside its own.

        Where a claim's number is made again, for one seed, these tables are not: subclasses do not change them.
        """
        return Results.tables(self, experiment)

    @functools.cache  # noqa: B019
    def measured(self, name: str) -> Measured | None:
        """The table of a measurement; None if there is none, as for an experiment."""
        folder, names = self._checked(), self._names(name)
        if not names or names & set(_of_runs(name)[1:]):
            return None
        self._require_all(name, (name, f"{name}.meta"), names)
        meta = _read(folder, f"{name}.meta", ("key", "data", *VERSIONS, "hardware", "cores", "settings", "seconds"))
        if len(meta) != 1:
            raise StoreError(f"{folder}: {name}.meta.csv has {len(meta)} rows instead of one. {WAY_FORWARD}")
        return Measured(name, _read(folder, name, ()), meta.iloc[0])

    def table(self, name: str, columns: Sequence[str]) -> pd.DataFrame | None:
        """One table that has these ``columns`` and maybe more; None if there is none."""
        folder = self._checked()
        return None if store.find_table(folder, name) is None else _read(folder, name, columns)

    def text(self, name: str) -> str:
        """A table as text, unpacked if it is gzipped."""
        return _text(self._checked(), name)

    def records(self, name: str) -> list[dict[str, str]]:
        """The rows of a table with all cells as text."""
        return list(csv.DictReader(io.StringIO(self.text(name))))

    def record(self, experiment: str, row: dict[str, str], timing: dict[str, str]) -> RunRecord:
        """A run's record from its rows of ``X.runs.csv`` and ``X.timing.csv``."""
        try:
            return RunRecord.from_rows(row, timing)
        except (ValueError, TypeError, KeyError) as error:
            raise StoreError(
                f"{self.folder / 'tables' / experiment}.runs.csv, run {row.get('run')}: no record of a run ({error}). "
                f"{WAY_FORWARD}"
            ) from error

    def check(self) -> None:
        """Read every table, so that what does not fit is refused before anything is written."""
        folder = self._checked()
        for owner in sorted({name.partition(".")[0] for name in self._names()}):
            if owner == COMPARISON:
                _read(folder, owner, ())
            elif self.tables(owner) is None:
                self.measured(owner)

    def _require_all(self, owner: str, required: Sequence[str], names: set[str]) -> None:
        """Raise :class:`StoreError` if a ``required`` table is not among the ``names`` of those of ``owner``."""
        missing = [f"{name}.csv" for name in required if name not in names]
        if missing:
            there = ", ".join(sorted(f"{name}.csv" for name in names))
            measured = f" (or {owner}.meta.csv, of a measurement)" if names == {owner} else ""
            raise StoreError(
                f"{self.folder / 'tables' / missing[0]}{measured} is missing beside {there}. {WAY_FORWARD}"
            )

    def _names(self, owner: str | None = None) -> set[str]:
        """The names of the tables, all or those of one experiment or measurement."""
        found = self.folder.joinpath("tables").glob("*.csv*" if owner is None else f"{owner}.*")
        names = {path.name.removesuffix(".gz") for path in found}
        return {name.removesuffix(".csv") for name in names if name.endswith(".csv")}

    @functools.cache  # noqa: B019
    def _checked(self) -> Path:
        """The folder of the tables, all of which fit their digests."""
        self._digests()
        return self.folder / "tables"

    @functools.cache  # noqa: B019
    def _digests(self) -> dict[str, str]:
        return store.check_tables(self.folder / "tables")


_known: dict[tuple[Path, str], tuple[dict[str, str], Tables]] = {}
"""The tables that this process has read, with their digests: while runs are trained, it reports again and again."""


@dataclass(frozen=True, eq=False)
class _Shared(Results):
    """Results that take their tables from ``others`` of the same folder."""

    others: Results = field(default_factory=lambda: Results(Path()))

    def tables(self, experiment: str) -> Tables | None:
        return self.others.tables(experiment)

    def measured(self, name: str) -> Measured | None:
        return self.others.measured(name)

    def asked_of(self, treatment: str) -> Results:
        return self if treatment == self.treatment else self.others.asked_of(treatment)


def read_experiment(name: str, results: Path) -> Tables | None:
    """The tables of an experiment; see :class:`Results`."""
    return Results(results).tables(name)


def read_measurement(name: str, results: Path) -> Measured | None:
    """The table of a measurement; see :class:`Results`."""
    return Results(results).measured(name)


def runs_held(experiment: str, results: Path) -> set[str]:
    """The names of the runs in the tables of an experiment, whether or not these fit their digests."""
    folder, name = results / "tables", f"{experiment}.runs"
    return set() if store.find_table(folder, name) is None else set(_read(folder, name, ("run",))["run"])


def _of_runs(experiment: str) -> tuple[str, str, str]:
    return experiment, f"{experiment}.runs", f"{experiment}.timing"


def _text(folder: Path, name: str) -> str:
    path = store.find_table(folder, name)
    if path is None:
        raise StoreError(f"{folder / name}.csv is missing. {WAY_FORWARD}")
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode()


def _read(folder: Path, name: str, columns: Sequence[str], exactly: bool = False) -> pd.DataFrame:
    """A CSV table with these ``columns``, and no others if ``exactly``. Raises :class:`StoreError` if it is damaged."""
    path = store.find_table(folder, name)
    if path is None:
        raise StoreError(f"{folder / name}.csv is missing. {WAY_FORWARD}")
    try:
        frame = pd.read_csv(
            path, keep_default_na=False, na_values=[""], skip_blank_lines=False, dtype=dict.fromkeys(TEXT, str)
        )
        if not isinstance(frame.index, pd.RangeIndex):
            raise ValueError("its lines have more cells than it has columns")
        if missing := [column for column in columns if column not in frame.columns]:
            raise ValueError(f"column {missing[0]} is missing")
        if exactly and (unknown := [column for column in frame.columns if column not in columns]):
            raise ValueError(f"unknown column {unknown[0]}")
        blank = frame.index[frame.isna().all(axis=1)]
        if len(blank):
            raise ValueError(f"line {blank[0] + 2} is blank")
        for column in set(NUMBERS) & set(frame.columns):
            numbers = pd.to_numeric(frame[column], errors="coerce")
            bad = frame.index[numbers.isna() | ((numbers % 1 != 0) if column in WHOLE else False)]
            if len(bad):
                raise ValueError(f"line {bad[0] + 2}: {column} is no number ({frame[column][bad[0]]})")
        if "run" in frame.columns:
            for column in set(TEXT) & set(frame.columns):
                frame[column] = frame[column].fillna("")
        return frame
    except (ValueError, OSError, EOFError) as error:
        raise _refused(path, error) from error


def _require(folder: Path, name: str, check: Callable[..., None], *arguments: Any) -> None:
    """Raise :class:`StoreError` that names the table if ``check`` refuses it."""
    try:
        check(*arguments)
    except ValueError as error:
        raise _refused(store.find_table(folder, name) or folder / name, error) from error


def _refused(path: Path, error: Exception) -> StoreError:
    return StoreError(f"{path} is not a whole table ({error}). {WAY_FORWARD}")
