"""Finished runs as tidy tables: a run's own lines, digit for digit, behind what identifies it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bnrepro import store
from bnrepro.config.identity import flatten
from bnrepro.errors import StoreError
from bnrepro.tables.columns import FIRST_COLUMNS, IDENTITY
from bnrepro.tables.read import read_table


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


def write_experiment(name: str, runs: Iterable[store.Run], results: Path) -> list[Path]:
    """Build the tables of an experiment below ``results``; a table that no run contributes to is removed."""
    folder = results / "tables"
    texts = collect(name, runs)
    for stale in folder.glob(f"{name}.*csv*"):
        if stale.name.removesuffix(".gz").removesuffix(".csv") not in texts:
            stale.unlink()
    return [store.write_table(folder, title, text) for title, text in texts.items()]


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
