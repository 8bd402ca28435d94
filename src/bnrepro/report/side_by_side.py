"""The comparison of normalisers on a console: verdicts with estimates, or their marks alone where it is narrow."""

from __future__ import annotations

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from bnrepro.report.comparison import REPORT, Cell, as_text, of_frame
from bnrepro.report.judge import MARKS, marked
from bnrepro.stats import NOT_RUN

WIDE = 24
"""Characters that each column needs for verdict and estimate."""
TITLE = "does it do what Batch Normalization does?"


def print_side_by_side(frame: pd.DataFrame, console: Console) -> None:
    """Print the comparison, one column per normaliser."""
    found = of_frame(frame)
    names = list(found.normalisers.values())
    narrow = console.width < WIDE * (len(names) + 1)
    shown = Table(title=TITLE, box=None if narrow else box.HEAVY_HEAD, padding=(0, 0 if narrow else 1))
    shown.add_column("claim", no_wrap=narrow, overflow="fold")
    for number, name in enumerate(names, 1):
        if narrow:
            shown.add_column(str(number), justify="center", min_width=3)
        else:
            shown.add_column(name, overflow="fold")
    for row in found.rows:
        label = row.slug if row.where == REPORT else f"{row.where}: {row.slug}"
        cells = [row.cells.get(name, Cell(NOT_RUN)) for name in found.normalisers]
        shown.add_row(label, *(MARKS[cell.verdict] if narrow else as_text(cell) for cell in cells))
    console.print(shown)
    if narrow:
        seen = dict.fromkeys(cell.verdict for row in found.rows for cell in row.cells.values())
        console.print(", ".join(f"{number} {name}" for number, name in enumerate(names, 1)))
        console.print(", ".join(marked(verdict) for verdict in seen))
