"""Runs to tidy tables, and tables back to data frames. No torch from here on.

``X.csv``         long: run, experiment, arm, seed, step, examples, split, metric, value
``X.runs.csv``    one row per run: identity, status, last step, versions and every scientific key of its configuration
``X.timing.csv``  seconds, hardware, cores: the one table in which two identical sweeps may differ
``X.<probe>.csv`` what a probe saw, wide
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from bnrepro import store
from bnrepro.config import flatten
from bnrepro.errors import StoreError

IDENTITY = ("run", "experiment", "arm", "seed")
LONG = [*IDENTITY, "step", "examples", "split", "metric", "value"]
FIRST_COLUMNS = [*IDENTITY, "key", "status", "last_step", "data", "fingerprint"]


@dataclass
class Tables:
    """An experiment's tables as data frames. ``metrics`` is the long one, ``probes`` maps a probe's name to its own."""

    experiment: str
    metrics: pd.DataFrame
    runs: pd.DataFrame
    timing: pd.DataFrame
    probes: dict[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def data_label(self) -> str:
        """What the runs were trained on, as every figure and table names it."""
        return ", ".join(sorted(set(self.runs["data"])))


def collect(experiment: str, runs: Iterable[store.Run]) -> dict[str, str]:
    """The CSV texts of an experiment's tables, by table name, from its finished runs; sorted, so that neither the
    order of training nor the launcher shows.

    A run's own lines are taken over as they stand: what a table says is, to the digit, what the run wrote.
    Raises :class:`StoreError` for a run that is not as it was written.
    """
    found = sorted((_read(run) for run in runs), key=lambda item: _order(item[0]))
    if not found:
        return {}
    names = sorted({name for _, files in found for name in files})
    texts = {}
    for name in names:
        suffix = "" if name == "metrics.csv" else f".{name.removesuffix('.csv')}"
        lines, header = [], ""
        for meta, files in found:
            if name in files:
                prefix = ",".join(str(meta[key]) for key in IDENTITY) + ","
                head, _, body = files[name].partition("\n")
                header = header or head
                if head != header:
                    raise StoreError(f"{meta['run']}: {name} has other columns than the runs before it")
                lines += [prefix + line for line in body.splitlines()]
        texts[experiment + suffix] = "\n".join([",".join(IDENTITY) + "," + header, *lines, ""])
    metas = [meta for meta, _ in found]
    texts[f"{experiment}.runs"] = _csv([_run_row(meta) for meta in metas], FIRST_COLUMNS)
    texts[f"{experiment}.timing"] = _csv([_timing_row(meta) for meta in metas], list(IDENTITY))
    return texts


def write(experiment: str, runs: Iterable[store.Run], results: Path) -> list[Path]:
    """Build the tables of an experiment below ``results``; a table that no run contributes to is removed."""
    folder = results / "tables"
    texts = collect(experiment, runs)
    for stale in folder.glob(f"{experiment}.*csv*"):
        if stale.name.removesuffix(".gz").removesuffix(".csv") not in texts:
            stale.unlink()
    return [store.write_table(folder, name, text) for name, text in texts.items()]


def held(experiment: str, runs: Iterable[store.Run], results: Path) -> list[store.Run]:
    """Those of ``runs`` that the tables of an experiment below ``results`` hold."""
    try:
        frame = read_table(results / "tables", f"{experiment}.runs", ["run"])
    except StoreError:
        return []  # not a whole table: what it held is gone already
    names = set() if frame is None else set(frame["run"])
    return [run for run in runs if run.name in names]


def write_measurement(run: store.Run, results: Path) -> list[Path]:
    """A measurement's table below ``results``, and ``X.meta.csv``: its key, settings, versions, hardware, seconds."""
    files = run.read()
    meta = json.loads(files["meta.json"])
    name = meta["experiment"]
    row = {key: meta[key] for key in ("key", "data")} | meta["versions"] | meta["machine"]
    row |= {"settings": json.dumps(meta["settings"]), "seconds": meta["seconds"]}
    folder = results / "tables"
    table = store.write_table(folder, name, files[f"{name}.csv"].decode())
    return [table, store.write_table(folder, f"{name}.meta", _csv([row], ["key"]))]


@dataclass
class Measured:
    """A measurement's table and, as one row, what it was made with."""

    name: str
    frame: pd.DataFrame
    meta: pd.Series


def read_measurement(name: str, results: Path) -> Measured | None:
    """The table of a measurement, None if it has not been made; :class:`StoreError` if it is damaged."""
    meta = read_table(results / "tables", f"{name}.meta", ["key", "seconds"])
    frame = None if meta is None else read_table(results / "tables", name, [])
    if meta is None or frame is None:
        return None
    return Measured(name, frame, meta.iloc[0])


def read(experiment: str, results: Path) -> Tables | None:
    """The tables of an experiment, None if there are none.

    Raises :class:`StoreError` that names the file if a column is missing or a line does not belong there.
    """
    folder = results / "tables"
    if store.find_table(folder, f"{experiment}.meta") is not None:
        return None  # a measurement, which has no runs
    metrics = read_table(folder, experiment, LONG)
    if metrics is None:
        return None
    runs = read_table(folder, f"{experiment}.runs", FIRST_COLUMNS)
    timing = read_table(folder, f"{experiment}.timing", ["run", "seconds"])
    if runs is None or timing is None:
        raise StoreError(f"{folder}: {experiment}.runs.csv or {experiment}.timing.csv is missing; restore or delete")
    probes = {}
    for path in sorted(folder.glob(f"{experiment}.*.csv*")):
        name = path.name.removeprefix(f"{experiment}.").removesuffix(".gz").removesuffix(".csv")
        if name not in ("runs", "timing"):
            probe = read_table(folder, f"{experiment}.{name}", list(IDENTITY))
            assert probe is not None
            probes[name] = probe
    known = set(runs["run"])
    for name, frame in ((experiment, metrics), *((f"{experiment}.{name}", probe) for name, probe in probes.items())):
        unknown = set(frame["run"]) - known
        if unknown:
            raise StoreError(
                f"{folder / name}.csv has lines of {sorted(map(str, unknown))[0]}, a run that is not in its runs"
            )
    return Tables(experiment, metrics, runs, timing, probes)


def read_table(folder: Path, name: str, columns: list[str]) -> pd.DataFrame | None:
    """One CSV table, None if it is not there; :class:`StoreError` if it is not the table it should be."""
    path = store.find_table(folder, name)
    if path is None:
        return None
    try:
        frame = pd.read_csv(path, keep_default_na=False, na_values=[""])
        missing = [column for column in columns if column not in frame.columns]
        if missing:
            raise ValueError(f"column {missing[0]} is missing")
        for column in {"step", "value", "seed", "last_step"} & set(frame.columns):
            if len(frame) and not pd.api.types.is_numeric_dtype(frame[column]):
                bad = frame.index[pd.to_numeric(frame[column], errors="coerce").isna()][0]
                raise ValueError(f"line {bad + 2}: {column} is {frame[column][bad]!r}")
            if frame[column].isna().any():
                raise ValueError(f"line {frame.index[frame[column].isna()][0] + 2} is incomplete")
        return frame
    except (ValueError, OSError, EOFError) as error:
        raise StoreError(
            f"{path} is not a whole table ({error}). Restore it (git checkout), or delete it and run make reproduce: "
            "it is rebuilt from the finished runs."
        ) from error


def text_of(folder: Path, name: str) -> str:
    """A table as the text that was written, unpacked if it is. Raises :class:`StoreError` if it is not there."""
    path = store.find_table(folder, name)
    if path is None:
        raise StoreError(f"{folder / name}.csv is missing; restore it (git checkout)")
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode()


# ------------------------------------------------------------------------------------------------------ rows


def _read(run: store.Run) -> tuple[dict[str, Any], dict[str, str]]:
    files = run.read()
    meta = json.loads(files["meta.json"])
    return meta, {name: content.decode() for name, content in files.items() if name.endswith(".csv")}


def _order(meta: dict[str, Any]) -> tuple[Any, ...]:
    """Arms by name, then by every scientific value, then seeds: numbers as numbers."""
    factors = tuple(
        (key, isinstance(value, str), value)
        for key, value in _flat(meta).items()
        if key != "seed" and isinstance(value, (int, float, str))
    )
    return meta["arm"], meta["fingerprint"], factors, meta["seed"]


def _run_row(meta: dict[str, Any]) -> dict[str, Any]:
    row = {key: meta[key] for key in FIRST_COLUMNS}
    row |= meta["versions"]
    return row | {key: value for key, value in _flat(meta).items() if key != "seed"}


def _timing_row(meta: dict[str, Any]) -> dict[str, Any]:
    row = {key: meta[key] for key in IDENTITY}
    return row | {"seconds": meta["seconds"], "finished": meta["finished"]} | meta["machine"]


def _flat(meta: dict[str, Any]) -> dict[str, Any]:
    flat = flatten(meta["config"])
    return {key: json.dumps(value) if isinstance(value, list) else value for key, value in flat.items()}


def _csv(rows: list[dict[str, Any]], first: list[str]) -> str:
    """Rows with unequal keys as one table: ``first``, then every other column in the order of its appearance."""
    columns = list(dict.fromkeys([*first, *(key for row in rows for key in row)]))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
