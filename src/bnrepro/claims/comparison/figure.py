"""The comparison of normalisers as one picture: claims × normalisers, a cell a verdict with its estimate."""

from __future__ import annotations

import math
from itertools import groupby
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from bnrepro.claims import style
from bnrepro.claims.comparison import columns
from bnrepro.claims.comparison.words import HEADINGS, PLACES, SAYS
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
    SUPPORTED: "✔", WEAKER: "≈", DEPENDS: "±", INCONCLUSIVE: "?", CONTRADICTED: "✘", MEASURED: "", NOT_RUN: "",
}  # fmt: skip
SYMBOLS = ["DejaVu Sans"]
"""The font of the signs, which matplotlib brings along; that of the house style lacks some."""
LEGEND = {
    SUPPORTED: "supported", WEAKER: "weaker than the margin", DEPENDS: "depends on scale and rate",
    INCONCLUSIVE: "inconclusive", CONTRADICTED: "contradicted",
}  # fmt: skip
FORMS = (
    "%: share of cells, cases, scales or rates beyond the margin; ×: ratio; signed: points of accuracy; –: no answer"
)
ROW, AROUND = 0.225, 1.75
"""Inches: the height of a row, and of title, names and legend together."""


def draw(frame: pd.DataFrame) -> Figure:
    """``frame`` is the table ``comparison``: a row for each claim, place and normaliser."""
    normalisers = list(dict.fromkeys(frame["normaliser"]))
    asked = list(dict.fromkeys(zip(frame["where"], frame["claim"], strict=True)))
    cells = {(row["where"], row["claim"], row["normaliser"]): row for row in frame.to_dict("records")}
    lines: list[tuple[str, str] | None] = []  # None: a heading
    headings: dict[int, str] = {}
    for heading, group in groupby(asked, key=lambda each: _heading(each[0])):
        headings[len(lines)] = heading
        lines += [None, *group]
    figure, [[axes]] = style.canvas(style.PAGE, ROW * len(lines) + AROUND)
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
    named = [(place, line) for place, line in enumerate(lines) if line is not None]
    axes.set_yticks([place + 0.5 for place, _ in named], [_label(*line) for _, line in named], fontsize=7)
    names = list(columns.labels(frame).values())
    axes.set_xticks([column + 0.5 for column in range(len(names))], names, fontsize=7.5)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    for text in axes.get_xticklabels():
        text.set(rotation=40, ha="left", rotation_mode="anchor")
    axes.spines[:].set_visible(False)
    handles = [Patch(facecolor=FILLS[verdict], label=f"{SIGNS[verdict]}  {LEGEND[verdict]}") for verdict in LEGEND]
    legend = figure.legend(handles=handles, loc="outside lower center", ncols=5, handlelength=1.2, columnspacing=1.2)
    for text in legend.get_texts():
        text.set(fontfamily=[*style.STYLE["font.family"].split(","), *SYMBOLS])
    figure.suptitle(_title(frame))
    return figure


def _cell(axes: Axes, column: int, place: int, row: dict | None) -> None:
    verdict = row["verdict"] if row is not None else NOT_RUN
    axes.add_patch(
        Rectangle((column + 0.02, place + 0.05), 0.96, 0.9, facecolor=FILLS[verdict], edgecolor="0.85", linewidth=0.4)
    )
    shade = "white" if verdict in (SUPPORTED, CONTRADICTED) else "black"
    middle: dict[str, Any] = {"ha": "center", "va": "center", "color": shade}
    if row is None or verdict == NOT_RUN:
        axes.text(column + 0.5, place + 0.5, "–", fontsize=6.5, **middle)
        return
    sign = SIGNS[verdict]
    if sign:
        axes.text(column + 0.18, place + 0.5, sign, fontsize=5.5, fontfamily=SYMBOLS, **middle)
    axes.text(column + (0.63 if sign else 0.5), place + 0.52, _short(row), fontsize=6.3, **middle)


def _short(row: dict) -> str:
    """The estimate without its interval; its lower end, where the upper one is not known."""
    value, unit = row["estimate"], row["unit"]
    if pd.isna(value):
        return ""
    bounded = not math.isinf(row["high"])  # else the steps run out first: only the lower end is known
    forms = {
        "share": f"{100 * value:.0f}%", "ratio": _ratio(value if bounded else row["low"], bounded),
        "difference": style.signed(100 * value),
    }  # fmt: skip
    return forms.get(str(unit), f"{value:.3g}")


def _ratio(value: float, bounded: bool) -> str:
    """With a digit less where it is a lower bound, which is rounded down: beside its verdict there is no more room."""
    if not bounded:
        return f"≥{math.floor(10 * value) / 10:.1f}×"
    return f"{value:.2f}×" if value < 10 else f"{value:.0f}×"


def _heading(where: str) -> str:
    return HEADINGS.get(where) or PLACES.get(where, where)


def _label(where: str, claim: str) -> str:
    return PLACES[where] if where in HEADINGS else SAYS.get(claim, claim)


def _title(frame: pd.DataFrame) -> str:
    seeds = int(frame.loc[frame["claim"] != "step_cost", "n"].max())  # a step's cost counts rounds
    trained = [f" on {' and '.join(sorted(found))}"] if (found := columns.data(frame)) else []
    against = f"Against the network without normalisation{''.join(trained)}, up to {style.count(seeds, 'seed')}"
    return f"{against}\n{FORMS}"
