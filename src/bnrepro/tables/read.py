"""Tables as checked data frames, and the tables of one results folder for the claims."""

from __future__ import annotations

import csv
import functools
import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from bnrepro import store
from bnrepro.errors import StoreError
from bnrepro.store.record import IDENTITY, RUN_COLUMNS

LONG = (*IDENTITY, "step", "examples", "split", "metric", "value")


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


def read_experiment(name: str, results: Path) -> Tables | None:
    """The tables of an experiment, None if there are none.

    Raises :class:`StoreError` that names the file if a table is missing or damaged, or has a line of an unknown run.
    """
    folder = results / "tables"
    if store.find_table(folder, f"{name}.meta") is not None:
        return None  # a measurement, without runs
    metrics = read_table(folder, name, LONG)
    if metrics is None:
        return None
    runs = read_table(folder, f"{name}.runs", RUN_COLUMNS)
    timing = read_table(folder, f"{name}.timing", ["run", "seconds"])
    if runs is None or timing is None:
        raise StoreError(f"{folder}: {name}.runs.csv or {name}.timing.csv is missing; restore it, or delete the others")
    probes = {}
    for path in sorted(folder.glob(f"{name}.*.csv*")):
        kind = path.name.removeprefix(f"{name}.").removesuffix(".gz").removesuffix(".csv")
        if kind not in ("runs", "timing"):
            probe = read_table(folder, f"{name}.{kind}", IDENTITY)
            assert probe is not None
            probes[kind] = probe
    known = set(runs["run"])
    for title, frame in ((name, metrics), *((f"{name}.{kind}", probe) for kind, probe in probes.items())):
        unknown = set(frame["run"]) - known
        if unknown:
            raise StoreError(
                f"{folder / title}.csv has lines of {min(map(str, unknown))}, a run that is not in {name}.runs.csv"
            )
    return Tables(name, metrics, runs, timing, probes)


def read_measurement(name: str, results: Path) -> Measured | None:
    """The table of a measurement, None if there is none. Raises :class:`StoreError` if it is damaged."""
    meta = read_table(results / "tables", f"{name}.meta", ["key", "seconds"])
    frame = None if meta is None else read_table(results / "tables", name, [])
    if meta is None or frame is None:
        return None
    return Measured(name, frame, meta.iloc[0])


def read_table(folder: Path, name: str, columns: Sequence[str]) -> pd.DataFrame | None:
    """A CSV table with these ``columns`` and more; None if there is none. Raises :class:`StoreError` if damaged."""
    path = store.find_table(folder, name)
    if path is None:
        return None
    try:
        frame = pd.read_csv(path, keep_default_na=False, na_values=[""])
        missing = [column for column in columns if column not in frame.columns]
        if missing:
            raise ValueError(f"column {missing[0]} is missing")
        for column in {"step", "value", "seed", "last_step"} & set(frame.columns):
            bad = frame.index[pd.to_numeric(frame[column], errors="coerce").isna()]
            if len(bad):
                raise ValueError(f"line {bad[0] + 2}: {column} is no number ({frame[column][bad[0]]})")
        return frame
    except (ValueError, OSError, EOFError) as error:
        raise StoreError(
            f"{path} is not a whole table ({error}). Restore it (git checkout), or delete it and run make reproduce, "
            "which rebuilds it from the finished runs."
        ) from error


def text_of(folder: Path, name: str) -> str:
    """A table as text, unpacked if it is gzipped. Raises :class:`StoreError` if there is none."""
    path = store.find_table(folder, name)
    if path is None:
        raise StoreError(f"{folder / name}.csv is missing; restore it (git checkout)")
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode()


def records(folder: Path, name: str) -> list[dict[str, str]]:
    """The rows of a table with all cells as text: a commit may look like a number."""
    return list(csv.DictReader(io.StringIO(text_of(folder, name))))


@dataclass(frozen=True, eq=False)  # hashed by identity, so that each instance has a cache of its own
class Results:
    """The tables of one results folder, for the comparison of ``treatment`` with the network without it."""

    folder: Path
    treatment: str = "batch"

    @functools.cache  # noqa: B019 - lives as long as one report
    def tables(self, experiment: str) -> Tables | None:
        """As :func:`read_experiment`, read once."""
        return read_experiment(experiment, self.folder)

    @functools.cache  # noqa: B019
    def measured(self, name: str) -> Measured | None:
        """As :func:`read_measurement`, read once."""
        return read_measurement(name, self.folder)
