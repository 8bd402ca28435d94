"""Normalisers compared: what Batch Normalization's claims say of others, side by side, as one table.

``tables/comparison.csv``: one row a claim and normaliser, as their claims.json have it, from runs of one profile.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from bnrepro import store, tables
from bnrepro.claims import EXPERIMENTS, asked_of
from bnrepro.errors import StoreError
from bnrepro.report.judge import MARKS, anchor
from bnrepro.stats import NOT_RUN, Interval, amount

NAME = "comparison"
COLUMNS = ["claim", "normaliser", "profile", "data", "verdict", "estimate", "low", "high", "n", "unit"]


def write(results: Path, profile: str, folders: Mapping[str, Path]) -> Path:
    """Write the table of ``folders`` (normaliser → results folder of that profile) below ``results``.

    A folder without verdicts counts as not run. Raises :class:`StoreError` for a claims.json that is damaged.
    """
    asked = [claim.slug for name in asked_of("") for claim in EXPERIMENTS[name].claims]
    rows = []
    for normaliser, folder in folders.items():
        found, data = _verdicts(folder), _data(folder)
        for slug in asked:
            rows.append({"claim": slug, "normaliser": normaliser, "profile": profile, "data": data} | _row(found, slug))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    return store.write_table(results / "tables", NAME, buffer.getvalue())


def read(results: Path) -> pd.DataFrame | None:
    """The table below ``results``, None if there is none."""
    return tables.read_table(results / "tables", NAME, COLUMNS)


def _verdicts(folder: Path) -> dict[str, Any]:
    path = folder / "claims.json"
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise StoreError(f"{path} is damaged ({error}): delete it and run make reproduce") from error


def _data(folder: Path) -> str:
    """What the runs in ``folder`` were trained on."""
    labels: set[str] = set()
    for name in asked_of(""):
        frame = tables.read_table(folder / "tables", f"{name}.runs", ["data"])
        labels |= set() if frame is None else set(frame["data"])
    return ", ".join(sorted(labels))


def _row(found: dict[str, Any], slug: str) -> dict[str, Any]:
    if slug not in found:
        return {"verdict": NOT_RUN, "n": 0}
    claim = found[slug]
    primary = next((each for each in claim["estimates"] if each["primary"]), None)
    numbers = {key: claim[key] for key in ("verdict", "low", "high", "n")}
    return numbers | {"estimate": claim["value"], "unit": primary["unit"] if primary else ""}


# ------------------------------------------------------------------------------------------------------- shown


def _cells(frame: pd.DataFrame) -> pd.DataFrame:
    """Claims (rows) × normalisers (columns): verdict and estimate, in the table's own order."""
    shown: dict[str, dict[str, str]] = {}
    for row in frame.to_dict("records"):
        text = f"{MARKS[row['verdict']]} {row['verdict']}"
        if not pd.isna(row["estimate"]):
            text += ": " + amount(Interval(row["estimate"], row["low"], row["high"], row["n"]), row["unit"])
        shown.setdefault(row["normaliser"], {})[row["claim"]] = text
    return pd.DataFrame(shown)


def print_side_by_side(frame: pd.DataFrame, console: Console) -> None:
    """The comparison on the terminal: a column a normaliser."""
    cells = _cells(frame)
    table = Table(title="does it do what Batch Normalization does?")
    table.add_column("claim")
    for normaliser in cells:
        table.add_column(str(normaliser), overflow="fold")
    for slug, row in cells.iterrows():
        table.add_row(str(slug), *row)
    console.print(table)


def section(frame: pd.DataFrame, profile: str) -> str:
    """The comparison as a section of the report."""
    cells = _cells(frame)
    header = ["claim", *map(str, cells.columns)]
    rows = [[f"[{slug}](#{anchor(str(slug))})", *row] for slug, row in cells.iterrows()]
    table = "\n".join("| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *rows])
    profiles, data = (", ".join(map(str, frame[column].dropna().unique())) for column in ("profile", "data"))
    return (
        "## Normalisers compared: does another one do what Batch Normalization does?\n\n"
        f"Every claim that can be asked of any normaliser, put to others in Batch Normalization's place: runs of the "
        f"**{profiles}** profile on {data}"
        + (", fewer and shorter than those behind the verdicts of this report" if profiles != profile else "")
        + ". A normaliser of your own: `make reproduce TREATMENT=mine`.\n\n" + table
    )  # fmt: skip
