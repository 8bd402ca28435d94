"""Normalisers compared: the claims about Batch Normalization asked of others, side by side, in one table.

``tables/comparison.csv`` has one row per claim, place and normaliser. :func:`write` fills it from the runs of all
normalisers in one folder, :func:`write_reports` from the claims.json of folders with one normaliser each.
:func:`matrix` gives it as data for whoever shows it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bnrepro import store, tables
from bnrepro.claims import asked_of, declared
from bnrepro.claims.comparison import EXPERIMENTS as COMPARED
from bnrepro.claims.comparison import ROWS, columns
from bnrepro.claims.comparison.rows import TUNED
from bnrepro.claims.comparison.words import PLACES, SAYS
from bnrepro.claims.markdown import table
from bnrepro.errors import StoreError
from bnrepro.report import advice
from bnrepro.report.judge import MARKS, anchor, marked
from bnrepro.stats import NOT_RUN, amount
from bnrepro.store.tables import WAY_FORWARD

NAME = tables.COMPARISON
COLUMNS = [
    "where", "claim", "normaliser", "profile", "data", "verdict", "estimate", "low", "high", "n", "unit", "said", "why",
    "cells",
]  # fmt: skip
KEY = ["where", "claim", "normaliser"]
FEWER = "fewer, and over the map shorter, than those behind the verdicts of this report"
MIXED = (
    "The columns differ in the number and length of their runs, or in their data, and so in what they can decide. What "
    "to use when is said of those alone that are like the first."
)
REPORT = "report"
"""Where the claims of a report are asked: each in its own experiment."""


# ------------------------------------------------------------------------------------------------------- the table


def write(
    into: Path, runs: tables.Results, profile: str, normalisers: Sequence[str],
    reasons: Mapping[str, Mapping[str, str]], beside: pd.DataFrame | None = None,
) -> Path:  # fmt: skip
    """Judge every row of the comparison for all ``normalisers`` on the tables of ``runs``; write the table.

    ``reasons`` says why a normaliser has no runs of an experiment (normaliser → experiment → reason). ``cells`` are,
    where both are tuned, the best scale and rate of the network without and of that with the normaliser. ``beside`` are
    the rows of another comparison: its other normalisers stand beside these. Returns the table's path, below ``into``.
    """
    runs.check()
    rows: list[dict[str, Any]] = []
    for normaliser in normalisers:
        results, data = runs.asked_of(normaliser), _trained_on(runs, normaliser)
        for row in ROWS:
            judged = row.claim.asked_of(normaliser).judge(results)
            found = {"where": row.where, "claim": row.slug, "normaliser": normaliser, "profile": profile, "data": data}
            primary = judged.primary
            if primary is None:
                missing = "; ".join(note.partition(": python scripts/")[0] for note in judged.notes)
                why = reasons.get(normaliser, {}).get(row.experiment, missing)
                rows.append(found | {"verdict": NOT_RUN, "n": 0, "why": why})
                continue
            interval = primary.interval
            numbers = {"estimate": interval.value, "low": interval.low, "high": interval.high}
            rows.append(
                found
                | ({"cells": " | ".join(judged.notes)} if row.where == TUNED else {})
                | {"verdict": judged.verdict, "n": interval.n, "unit": primary.unit, "said": primary.said}
                | {key: "" if math.isnan(value) else f"{value:.6g}" for key, value in numbers.items()}
            )
    if beside is not None:
        judged = set(beside.loc[(beside["where"] != REPORT) & (beside["verdict"] != NOT_RUN), "normaliser"])
        kept = beside[beside["normaliser"].isin(list(judged - set(normalisers)))]
        rows += [
            {str(key): "" if pd.isna(value) else value for key, value in row.items()} for row in kept.to_dict("records")
        ]
    return _write(into, rows)


def write_reports(results: Path, profile: str, folders: Mapping[str, Path], own: Path | None = None) -> Path:
    """Write the table of ``folders`` (normaliser → its results folder) below ``results``. Returns the table's path.

    ``own`` is a user's folder, whose claims are compared as well.

    A folder without claims.json counts as not run. Raises :class:`StoreError` for a damaged one, and for tables that
    do not fit.
    """
    known, names = declared(own), asked_of("", own)
    asked = [claim.slug for name in names for claim in known[name].claims]
    rows = []
    for normaliser, folder in folders.items():
        found, data = _verdicts(folder), _data(folder, names)
        for slug in asked:
            place = {"where": REPORT, "claim": slug, "normaliser": normaliser, "profile": profile, "data": data}
            rows.append(place | _row(found, slug))
    return _write(results, rows)


def _write(results: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    [path] = store.write_tables(results / "tables", NAME, {NAME: [tables.as_csv(rows, COLUMNS)]})
    return path


def read(results: Path) -> pd.DataFrame | None:
    """The table below ``results``; None if there is none. Raises :class:`StoreError` if it is damaged."""
    frame = tables.Results(results).table(NAME, COLUMNS)
    if frame is not None:
        bad = frame[~frame["verdict"].isin(MARKS) | frame.duplicated(KEY)]
        if len(bad):
            raise StoreError(
                f"{results / 'tables' / NAME}.csv, {bad['claim'].iloc[0]} of {bad['normaliser'].iloc[0]}: its verdict "
                f"is {bad['verdict'].iloc[0]}, or it is there twice. {WAY_FORWARD}"
            )
    return frame


def is_drawn(results: Path) -> bool:
    """Whether the comparison below ``results`` has a figure: that of reports has none, nor one without a verdict."""
    frame = read(results)
    return frame is not None and _has_figure(frame)


def _has_figure(frame: pd.DataFrame) -> bool:
    return bool(((frame["where"] != REPORT) & (frame["verdict"] != NOT_RUN)).any())


def _trained_on(runs: tables.Results, normaliser: str) -> str:
    """The data of a normaliser's runs."""
    found = (runs.tables(name) for name in COMPARED)
    labels = {
        label
        for each in found
        if each is not None
        for label in each.runs.loc[each.runs["norm.name"] == normaliser, "data"]
    }
    return "; ".join(sorted(labels))


def _verdicts(folder: Path) -> dict[str, Any]:
    path = folder / "claims.json"
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StoreError(f"{path} is damaged ({error}): delete it and run make reproduce") from error


def _data(folder: Path, names: list[str]) -> str:
    """The data that the runs of the experiments ``names`` in ``folder`` were trained on."""
    results = tables.Results(folder)
    results.check()
    found = (results.tables(name) for name in names)
    return "; ".join(sorted({label for each in found if each is not None for label in each.runs["data"]}))


def _row(found: dict[str, Any], slug: str) -> dict[str, Any]:
    if slug not in found:
        return {"verdict": NOT_RUN, "n": 0}
    claim = found[slug]
    primary = next((each for each in claim["estimates"] if each["primary"]), None)
    numbers = {key: claim[key] for key in ("verdict", "low", "high", "n")}
    unit, said = (primary["unit"], primary.get("said", "")) if primary else ("", "")
    return numbers | {"estimate": claim["value"], "unit": unit, "said": said}


# -------------------------------------------------------------------------------------------------- for readers


@dataclass(frozen=True)
class Cell:
    """One answer: its ``verdict``, its estimate as ``text`` (empty without one), and ``why`` it was not run."""

    verdict: str
    text: str = ""
    why: str = ""


@dataclass(frozen=True)
class Asked:
    """One row of the matrix: the claim ``slug``, asked ``where``, in words, with a cell for every normaliser."""

    where: str
    place: str
    slug: str
    says: str
    cells: Mapping[str, Cell]


@dataclass(frozen=True)
class Matrix:
    """The comparison as data: ``normalisers`` gives the columns' names, ``profiles`` those of their runs.

    ``alike`` says whether these, and the data, are the same for all. ``conclusions`` are sentences in Markdown by
    heading; what to use when is said of the columns alone that are like the first.
    """

    normalisers: Mapping[str, str]
    profiles: Mapping[str, str]
    alike: bool
    rows: Sequence[Asked]
    conclusions: Mapping[str, Sequence[str]]


def matrix(results: Path) -> Matrix | None:
    """The comparison below ``results`` as data; None if there is none. Raises :class:`StoreError`."""
    frame = read(results)
    return None if frame is None else of_frame(frame)


def of_frame(frame: pd.DataFrame) -> Matrix:
    """The table as data."""
    labels, alike = columns.labels(frame), columns.alike(frame)
    rows = []
    for (where, slug), group in frame.groupby(["where", "claim"], sort=False):
        cells = {str(row["normaliser"]): _cell(row) for row in group.to_dict("records")}
        says = SAYS.get(str(slug), str(slug))
        rows.append(Asked(str(where), PLACES.get(str(where), str(where)), str(slug), says, cells))
    found = {}
    if set(frame["where"]) != {REPORT}:
        found = {
            "What to use when": advice.situations(frame[frame["normaliser"].isin(alike)]),
            "What a step costs, over the plain network's": advice.costs(frame),
            "Each normaliser": advice.portraits(frame),
            "Where each is at its best on validation: initial scale and rate": advice.tuned(frame),
            "Where there is no answer": advice.unanswered(frame),
        }
    return Matrix(labels, columns.profiles(frame), len(alike) == len(labels), rows, found)


def _cell(row: dict[Any, Any]) -> Cell:
    why = "" if pd.isna(row["why"]) else str(row["why"])
    if pd.isna(row["estimate"]):
        return Cell(row["verdict"], why=why)
    if not pd.isna(row["said"]):
        return Cell(row["verdict"], str(row["said"]))
    return Cell(row["verdict"], amount(advice.interval(row), row["unit"]))


def as_text(cell: Cell | None) -> str:
    """A cell as text: verdict, with its mark, and estimate."""
    if cell is None:
        return "–"
    return marked(cell.verdict) + (f": {cell.text}" if cell.text else "")


def section(frame: pd.DataFrame, profile: str) -> str:
    """The comparison as a section of the report, whose own profile is ``profile``: conclusions, then the matrix."""
    found = of_frame(frame)
    own = set(frame["where"]) == {REPORT}
    profiles = list(dict.fromkeys(found.profiles.values()))
    rows = []
    for row in found.rows:
        asked = f"[{row.slug}](#{anchor(row.slug)})" if own else f"{row.says} ({row.where}: {row.slug})"
        rows.append([asked, *(as_text(row.cells.get(name)) for name in found.normalisers)])
    data = " and ".join(columns.data(frame))
    parts = [
        "## Normalisers compared: does another one do what Batch Normalization does?",
        "The claims that can be put to any normaliser, put to others in Batch Normalization's place, with runs of "
        f"the profile **{'** or **'.join(profiles)}**" + (f" on {data}" if data else "")
        + (f", {FEWER}" if profile not in profiles else "") + ". For a normaliser of your own: docs/normaliser.md.",
    ]  # fmt: skip
    if not own and not _has_figure(frame):
        return "\n\n".join([*parts, "Nothing of it has been run yet: make compare."])
    if not own:
        parts.append("![Normalisers compared](figures/comparison.png)")
    if found.conclusions and not found.alike:
        parts.append(MIXED)
    for heading, sentences in found.conclusions.items():
        parts += [f"### {heading}", "\n".join(f"- {each}" for each in sentences)] if sentences else []
    parts.append(table(["claim", *found.normalisers.values()], rows))
    return "\n\n".join(parts)
