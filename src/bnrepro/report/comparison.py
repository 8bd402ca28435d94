"""Normalisers compared: the verdicts on Batch Normalization's claims asked of others, side by side.

``tables/comparison.csv`` has one row per claim and normaliser, read from their claims.json files of one profile.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from bnrepro import store, tables
from bnrepro.claims import asked_of, declared
from bnrepro.claims.markdown import table
from bnrepro.errors import StoreError
from bnrepro.report.judge import MARKS, anchor, marked
from bnrepro.stats import NOT_RUN, Interval, amount
from bnrepro.store.tables import WAY_FORWARD

NAME = tables.COMPARISON
COLUMNS = ["claim", "normaliser", "profile", "data", "verdict", "estimate", "low", "high", "n", "unit"]


def write(results: Path, profile: str, folders: Mapping[str, Path], own: Path | None = None) -> Path:
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
            rows.append({"claim": slug, "normaliser": normaliser, "profile": profile, "data": data} | _row(found, slug))
    [path] = store.write_tables(results / "tables", NAME, {NAME: [tables.as_csv(rows, COLUMNS)]})
    return path


def read(results: Path) -> pd.DataFrame | None:
    """The table below ``results``; None if there is none. Raises :class:`StoreError` if it is damaged."""
    frame = tables.Results(results).table(NAME, COLUMNS)
    if frame is not None:
        bad = frame[~frame["verdict"].isin(MARKS) | frame.duplicated(["claim", "normaliser"])]
        if len(bad):
            raise StoreError(
                f"{results / 'tables' / NAME}.csv, {bad['claim'].iloc[0]} of {bad['normaliser'].iloc[0]}: its verdict "
                f"is {bad['verdict'].iloc[0]}, or it is there twice. {WAY_FORWARD}"
            )
    return frame


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
    return ", ".join(sorted({label for each in found if each is not None for label in each.runs["data"]}))


def _row(found: dict[str, Any], slug: str) -> dict[str, Any]:
    if slug not in found:
        return {"verdict": NOT_RUN, "n": 0}
    claim = found[slug]
    primary = next((each for each in claim["estimates"] if each["primary"]), None)
    numbers = {key: claim[key] for key in ("verdict", "low", "high", "n")}
    return numbers | {"estimate": claim["value"], "unit": primary["unit"] if primary else ""}


# -------------------------------------------------------------------------------------------------- for readers


def cells(frame: pd.DataFrame) -> pd.DataFrame:
    """Claims (rows) × normalisers (columns): verdict and estimate, in the table's own order."""
    shown: dict[str, dict[str, str]] = {}
    for row in frame.to_dict("records"):
        text = marked(row["verdict"])
        if not pd.isna(row["estimate"]):
            text += ": " + amount(Interval(row["estimate"], row["low"], row["high"], row["n"]), row["unit"])
        shown.setdefault(row["normaliser"], {})[row["claim"]] = text
    return pd.DataFrame(shown)


def print_side_by_side(frame: pd.DataFrame, console: Console) -> None:
    """Print the comparison, one column per normaliser."""
    found = cells(frame)
    shown = Table(title="does it do what Batch Normalization does?")
    shown.add_column("claim")
    for normaliser in found:
        shown.add_column(str(normaliser), overflow="fold")
    for slug, row in found.iterrows():
        shown.add_row(str(slug), *row)
    console.print(shown)


def section(frame: pd.DataFrame, profile: str) -> str:
    """The comparison as a section of the report."""
    found = cells(frame)
    rows = [[f"[{slug}](#{anchor(str(slug))})", *row] for slug, row in found.iterrows()]
    profiles, data = (", ".join(map(str, frame[column].dropna().unique())) for column in ("profile", "data"))
    return (
        "## Normalisers compared: does another one do what Batch Normalization does?\n\n"
        "The claims that can be asked of any normaliser, asked of others in Batch Normalization's place, with runs of "
        f"the **{profiles}** profile on {data}"
        + (", fewer and shorter than those behind the verdicts of this report" if profiles != profile else "")
        + ". For a normaliser of your own: `make reproduce TREATMENT=mine`.\n\n"
        + table(["claim", *found], rows)
    )
