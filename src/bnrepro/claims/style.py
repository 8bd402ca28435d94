"""The house style and a few plot primitives: paper-sized, colour-blind safe, byte-identical when drawn twice."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from bnrepro import store
from bnrepro.claims import naming
from bnrepro.stats import BASELINE, Interval, paired_difference
from bnrepro.tables import Tables

COLUMN, PAGE = 3.35, 6.9
"""Widths in inches: one column of the paper, and both."""
FORMATS = ("png", "svg", "pdf")

# Okabe & Ito's palette: distinct with any colour vision, and by lightness in print.
COLOURS = {
    "none": "#000000", "batch": "#D55E00", "batch-after": "#0072B2", "batch_no_affine": "#0072B2",
    "batch_noisy": "#009E73", "inception": "#000000", "bn_baseline": "#0072B2", "bn_x5": "#D55E00",
    "bn_x30": "#009E73", "bn_x5_sigmoid": "#CC79A7", "inception_x5": "#999999", "inception_sigmoid": "#E69F00",
}  # fmt: skip
OTHER_COLOURS = ("#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#0072B2")
STYLE: Any = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "figure.labelsize": 8,
    "figure.titlesize": 8,
    "legend.fontsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.1,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "figure.dpi": 100,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,
    "svg.hashsalt": "bnrepro",
    "svg.fonttype": "path",
}
GUIDE: Any = {"color": "0.6", "linewidth": 0.6, "linestyle": ":"}
"""The look of a line that marks a margin, a target or zero."""


def colour(arm: str) -> str:
    """The arm's colour, the same in every figure."""
    return COLOURS.get(arm) or OTHER_COLOURS[sum(arm.encode()) % len(OTHER_COLOURS)]


def name(arm: str) -> str:
    """The arm's name in a legend."""
    return naming.legend(arm)


def line(arm: str) -> str:
    """The arm's line style: dashed without a normaliser, dotted with one after the activation, else solid."""
    return "--" if arm == BASELINE else ":" if arm.endswith("-after") else "-"


def house_style() -> AbstractContextManager[None]:
    """The style while figures are built and saved: a text takes its font when it is made."""
    return mpl.rc_context(STYLE)


def canvas(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, np.ndarray]:
    """A figure of ``width`` × ``height`` inches, and its axes as a (rows, columns) array."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


# ------------------------------------------------------------------------------------------------------ panels


def median_and_range(axes: Axes, curves: pd.DataFrame, style: Any, shade: str, **look: Any) -> None:
    """The median over ``curves`` (columns), with a band from the smallest to the largest."""
    axes.plot(curves.index, curves.median(axis=1), linestyle=style, color=shade, **look)
    axes.fill_between(curves.index, curves.min(axis=1), curves.max(axis=1), color=shade, alpha=0.18, linewidth=0)


def band(axes: Axes, curves: pd.DataFrame, arm: str, label: str | None = None, style: str = "-") -> None:
    """Median and range over the seeds (columns) of an arm, against steps (rows)."""
    median_and_range(axes, curves.dropna(how="all"), style, colour(arm), label=label or name(arm))


def with_intervals(axes: Axes, points: Mapping[float, Interval], arm: str) -> None:
    """An arm's estimates, by their place on the x-axis, with a band of their 95% intervals."""
    value, low, high = ([getattr(each, part) for each in points.values()] for part in ("value", "low", "high"))
    axes.plot(list(points), value, line(arm), marker="o", markersize=2.5, color=colour(arm), label=name(arm))
    axes.fill_between(list(points), low, high, color=colour(arm), alpha=0.18, linewidth=0)


def crosses(axes: Axes, places: Sequence[float] | np.ndarray, height: float, arm: str) -> None:
    """Crosses at ``places`` on the x-axis, for the points of an arm that have no value."""
    if len(places):
        axes.plot(places, np.full(len(places), height), "x", color=colour(arm), markersize=4, clip_on=False)


def thousands(axes: Axes) -> None:
    """Steps on the x-axis as 10K, 20K, … as in the paper's figures."""
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}K" if value >= 1000 else f"{value:g}")


def heat_map(axes: Axes, frame: pd.DataFrame, *, colours: Normalize, map_name: str, text: str) -> None:
    """``frame`` as coloured cells, each with its number formatted by ``text``; a NaN is a blank cell with a dash."""
    image = axes.imshow(frame.to_numpy(dtype=float), cmap=map_name, norm=colours, aspect="auto")
    axes.set_xticks(range(frame.shape[1]), [f"{value:g}" for value in frame.columns])
    axes.set_yticks(range(frame.shape[0]), [f"{value:g}" for value in frame.index])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for (row, column), value in np.ndenumerate(frame.to_numpy(dtype=float)):
        red, green, blue, _ = image.cmap(image.norm(value)) if np.isfinite(value) else (1, 1, 1, 1)
        dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
        shown = text.format(value) if np.isfinite(value) else "–"
        axes.text(column, row, shown, ha="center", va="center", fontsize=7, color="white" if dark else "black")


def panel_letters(panels: Iterable[Axes], titles: Sequence[str]) -> None:
    """Titles of the panels, lettered (a), (b), … as in the paper."""
    for letter, panel, title in zip("abcdefgh", panels, titles, strict=False):
        panel.set_title(f"({letter}) {title}")


def legend_below(figure: Figure, axes: Axes, columns: int) -> None:
    """One legend under all panels, of what ``axes`` shows."""
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=columns)


# -------------------------------------------------------------------------------------------------- sweeps


def arms_of(tables: Tables, treatment: str) -> list[str]:
    """The arms that were run: the baseline, the treatment's, then any others that a user added."""
    first = [BASELINE, treatment, f"{treatment}-after"]
    found = set(tables.runs["arm"])
    return [arm for arm in first if arm in found] + sorted(found - set(first))


def runs_of(tables: Tables, arm: str) -> list[str]:
    """The names of an arm's runs."""
    return list(tables.runs.loc[tables.runs["arm"] == arm, "run"])


def ends_against(axes: Axes, runs: pd.DataFrame, factor: str, arms: list[str], bottom: float = 0.0) -> None:
    """Mean ``end`` over the seeds against ``factor``, with its 95% interval; diverged runs are crosses at ``bottom``.

    Where only some seeds of a point diverged, the line passes through the mean of the others.
    """
    for index, arm in enumerate(arms):
        chosen = runs[runs["arm"] == arm]
        points = {
            float(str(value)): paired_difference(ends.dropna())
            for value, ends in chosen.groupby(factor)["end"]
            if ends.notna().any()
        }
        with_intervals(axes, points, arm)
        lost = chosen.loc[chosen["status"] == "diverged", factor].unique()
        # Arms that diverge at the same value stand above one another, not on top of each other.
        crosses(axes, lost, bottom + 0.03 * index * (axes.get_ylim()[1] - bottom), arm)


def around(ends: pd.Series) -> tuple[float, float]:
    """Limits of an axis that shows all of ``ends``, with a tenth of their range to spare on either side."""
    if not ends.notna().any():
        return 0.0, 1.0
    low, high = float(ends.min()), float(ends.max())
    spare = max(high - low, 0.01) / 10
    return low - spare, high + spare


def seeds_note(tables: Tables) -> str:
    """Data and seeds, for the title of a panel of means."""
    return f"{tables.data_label}; mean of {tables.runs['seed'].nunique()} seeds, 95% interval"


# ------------------------------------------------------------------------------------------------------ files


def save(figures: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Write each figure as PNG, SVG and PDF. The bytes depend on the figure and the pinned versions alone."""
    nothing = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None}}
    paths = []
    for figure_name, figure in figures.items():
        for kind in FORMATS:
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, metadata=nothing[kind])
            path = folder / f"{figure_name}.{kind}"
            if not path.exists() or path.read_bytes() != buffer.getvalue():
                store.write_atomic(path, buffer.getvalue())
            paths.append(path)
    return paths
