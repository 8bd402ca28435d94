"""The comparison of normalisers as one picture: claims × normalisers, a cell a verdict with its estimate."""

from __future__ import annotations

from itertools import groupby

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from bnrepro.claims import naming, style
from bnrepro.claims.comparison.words import PLACES, SAYS
from bnrepro.stats import (
    CONTRADICTED,
    DEPENDS,
    INCONCLUSIVE,
    MEASURED,
    NOT_RUN,
    SUPPORTED,
    WEAKER,
)

NAME = "comparison"
FILLS = {
    SUPPORTED: "#0072B2", WEAKER: "#9CCBE8", DEPENDS: "#F5E39A", INCONCLUSIVE: "#E6E6E6", CONTRADICTED: "#D55E00",
    MEASURED: "#FFFFFF", NOT_RUN: "#FFFFFF",
}  # fmt: skip
"""Verdict → colour: told apart with any colour vision, and by the mark in the cell."""
SIGNS = {
    SUPPORTED: "+", WEAKER: "(+)", DEPENDS: "±", INCONCLUSIVE: "?", CONTRADICTED: "−", MEASURED: "", NOT_RUN: "",
}  # fmt: skip
LEGEND = {
    SUPPORTED: "supported", WEAKER: "weaker than the margin", DEPENDS: "depends on scale and rate",
    INCONCLUSIVE: "inconclusive", CONTRADICTED: "contradicted",
}  # fmt: skip
LABELS, CELL, ROW = 2.55, 0.43, 0.235
"""Inches: the column of questions at most, a cell, a row."""


def draw(frame: pd.DataFrame) -> Figure:
    """``frame`` is the table ``comparison``: a row for each claim, place and normaliser."""
    normalisers = list(dict.fromkeys(frame["normaliser"]))
    asked = list(dict.fromkeys(zip(frame["where"], frame["claim"], strict=True)))
    cells = {(row["where"], row["claim"], row["normaliser"]): row for row in frame.to_dict("records")}
    lines: list[tuple[str, str] | None] = []  # None: a heading
    headings: dict[int, str] = {}
    for where, group in groupby(asked, key=lambda each: each[0]):
        members = list(group)
        if len(members) > 1:
            headings[len(lines)] = PLACES.get(where, where)
            lines.append(None)
        lines += members
    height = ROW * len(lines) + 1.75
    figure, [[axes]] = style.canvas(style.PAGE, height)
    axes.set(xlim=(0, len(normalisers)), ylim=(len(lines), 0))
    for place, line in enumerate(lines):
        if line is None:
            axes.annotate(
                headings[place], (0, place + 0.62), (-6, 0), xycoords="data", textcoords="offset points", ha="right",
                va="center", fontsize=7.5, style="italic", annotation_clip=False,
            )  # fmt: skip
            continue
        for column, normaliser in enumerate(normalisers):
            _cell(axes, column, place, cells.get((*line, normaliser)))
    alone = {where for where, group in groupby(asked, key=lambda each: each[0]) if len(list(group)) == 1}
    named = [(place, line) for place, line in enumerate(lines) if line is not None]
    axes.set_yticks(
        [place + 0.5 for place, _ in named], [_label(line, line[0] in alone) for _, line in named], fontsize=7
    )
    axes.set_xticks([column + 0.5 for column in range(len(normalisers))], _columns(frame, normalisers), fontsize=7.5)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    for text in axes.get_xticklabels():
        text.set(rotation=40, ha="left", rotation_mode="anchor")
    axes.spines[:].set_visible(False)
    handles = [Patch(facecolor=FILLS[verdict], label=f"{SIGNS[verdict]}  {LEGEND[verdict]}") for verdict in LEGEND]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, handlelength=1.2)
    figure.suptitle(_title(frame))
    return figure


def _cell(axes: Axes, column: int, place: int, row: dict | None) -> None:
    verdict = row["verdict"] if row is not None else NOT_RUN
    axes.add_patch(
        Rectangle((column + 0.02, place + 0.05), 0.96, 0.9, facecolor=FILLS[verdict], edgecolor="0.85", linewidth=0.4)
    )
    text = "–" if row is None or verdict == NOT_RUN else f"{SIGNS[verdict]} {_short(row)}".strip()
    dark = verdict in (SUPPORTED, CONTRADICTED)
    axes.text(
        column + 0.5, place + 0.52, text, ha="center", va="center", fontsize=6.5, color="white" if dark else "black"
    )


def _short(row: dict) -> str:
    """The estimate without its interval."""
    value, unit = row["estimate"], row["unit"]
    if pd.isna(value):
        return ""
    forms = {"share": f"{100 * value:.0f}%", "ratio": f"{value:.2g}×", "difference": style.signed(100 * value)}
    return forms.get(str(unit), f"{value:.3g}")


def _label(line: tuple[str, str], alone: bool) -> str:
    where, claim = line
    return PLACES.get(where, where) if alone else SAYS.get(claim, claim)


def _columns(frame: pd.DataFrame, normalisers: list[str]) -> list[str]:
    """What the columns are called; with its profile, where the columns have several."""
    profiles = {name: str(rows["profile"].iloc[0]) for name, rows in frame.groupby("normaliser")}
    several = len(set(profiles.values())) > 1
    return [naming.short(name) + (f" ({profiles[name]})" if several else "") for name in normalisers]


def _title(frame: pd.DataFrame) -> str:
    data = " and ".join(sorted({each for text in frame["data"].dropna() for each in str(text).split("; ")}))
    said = "%: share of cells, cases, scales or rates beyond the margin; ×: ratio; signed: points of accuracy"
    return f"Against the network without normalisation{f', {data}' if data else ''}\n{said}"
