"""The house style and a few plot primitives: paper-sized, colour-blind safe, byte-identical when drawn twice."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from bnrepro import stats, store
from bnrepro.tables import Tables

COLUMN = 3.35
"""Width of one column of the paper in inches; PAGE is the width of both."""
PAGE = 6.9
FORMATS = ("png", "svg", "pdf")

# Okabe & Ito's palette: told apart with any colour vision, and by lightness in print.
COLOURS = {"none": "#000000", "batch": "#D55E00", "batch-after": "#0072B2", "batch_no_affine": "#0072B2"}
COLOURS |= {"batch_noisy": "#009E73"}
COLOURS |= {
    "inception": "#000000", "bn_baseline": "#0072B2", "bn_x5": "#D55E00", "bn_x30": "#009E73",
    "bn_x5_sigmoid": "#CC79A7", "inception_x5": "#999999", "inception_sigmoid": "#E69F00",
}  # fmt: skip
OTHER_COLOURS = ("#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#0072B2")
NAMES = {
    "none": "Without BN",
    "batch": "With BN",
    "batch-after": "With BN, after the activation",
    "batch_no_affine": "With BN, no γ and β",
    "batch_noisy": "With BN and noise",
}

STYLE: Any = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
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


def colour(arm: str) -> str:
    """The one colour of an arm in every figure."""
    if arm in COLOURS:
        return COLOURS[arm]
    return OTHER_COLOURS[sum(arm.encode()) % len(OTHER_COLOURS)]


def name(arm: str) -> str:
    """How a legend calls an arm."""
    return NAMES.get(arm, f"With {arm} norm")


def house_style() -> AbstractContextManager[None]:
    """The style, for as long as figures are built and saved: text takes its font where it is made."""
    return mpl.rc_context(STYLE)


def canvas(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, np.ndarray]:
    """A figure of ``width`` × ``height`` inches, and its axes as a (rows, columns) array."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def band(axes: Axes, curves: pd.DataFrame, arm: str, label: str | None = None, style: str = "-") -> None:
    """The median over seeds (columns) with a band from the smallest to the largest, over steps (rows)."""
    whole = curves.dropna(how="all")
    axes.plot(whole.index, whole.median(axis=1), style, color=colour(arm), label=label or name(arm))
    axes.fill_between(whole.index, whole.min(axis=1), whole.max(axis=1), color=colour(arm), alpha=0.18, linewidth=0)


def thousands(axes: Axes) -> None:
    """Steps on the x-axis as 10K, 20K, … as in the paper's figures."""
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}K" if value >= 1000 else f"{value:g}")


def heat_map(axes: Axes, frame: pd.DataFrame, *, colours: Normalize, map_name: str, text: str) -> None:
    """``frame`` as coloured cells, each with its number formatted by ``text``; NaN is drawn blank with a dash."""
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


def panel_letters(axes: Sequence[Axes], titles: Sequence[str]) -> None:
    """(a), (b), … under the panels, as the paper sets them."""
    for letter, axis, title in zip("abcdefgh", axes, titles, strict=False):
        axis.set_title(f"({letter}) {title}", fontsize=8)


# -------------------------------------------------------------------------------------------------- sweeps

STYLES = {"none": "--"}
AFTER = ":"


def arms_of(tables: Tables, treatment: str) -> list[str]:
    """The arms that were run, the baseline first, then the treatment's, then any others that a user added."""
    first = ["none", treatment, f"{treatment}-after"]
    found = set(tables.runs["arm"])
    return [arm for arm in first if arm in found] + sorted(found - set(first))


def line(arm: str) -> str:
    """The line style of an arm: dashed without, dotted after the activation."""
    return STYLES.get(arm, AFTER if arm.endswith("-after") else "-")


def ends_against(axes: Axes, runs: pd.DataFrame, factor: str, arms: list[str], bottom: float = 0.0) -> None:
    """Mean ``end`` over seeds with its 95% interval against ``factor``; runs that diverged are crosses at the bottom.

    Where some seeds of a point diverged, the line passes through the mean of the others, and the cross says so.
    """
    for arm in arms:
        chosen = runs[runs["arm"] == arm]
        points = [
            (float(str(value)), stats.paired_difference(group["end"].dropna().to_numpy()))
            for value, group in chosen.groupby(factor)
            if group["end"].notna().any()
        ]
        x = [value for value, _ in points]
        y, low, high = (
            np.array([getattr(found, part) for _, found in points], dtype=float) for part in ("value", "low", "high")
        )
        axes.plot(x, y, line(arm), marker="o", markersize=2.5, color=colour(arm), label=name(arm))
        axes.fill_between(x, low, high, color=colour(arm), alpha=0.18, linewidth=0)
        lost = chosen.loc[chosen["status"] == "diverged", factor].unique()
        if len(lost):
            # Arms that diverge at the same value stand above one another, not on top of each other.
            height = bottom + 0.03 * arms.index(arm) * (axes.get_ylim()[1] - bottom)
            axes.plot(lost, np.full(len(lost), height), "x", color=colour(arm), markersize=4, clip_on=False)


def around(ends: pd.Series) -> tuple[float, float]:
    """Limits of an axis that shows all of ``ends``, with a tenth of their range to spare on either side."""
    if not ends.notna().any():
        return 0.0, 1.0
    low, high = float(ends.min()), float(ends.max())
    spare = max(high - low, 0.01) / 10
    return low - spare, high + spare


def seeds_note(tables: Tables) -> str:
    """What a panel's title says of the data and the seeds."""
    return f"{tables.data_label}; mean of {tables.runs['seed'].nunique()} seeds, 95% interval"


# ------------------------------------------------------------------------------------------------------ files


def save(figures: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Write each figure as PNG, SVG and PDF; the bytes depend on the figure and the pinned versions alone."""
    nothing = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None}}
    paths = []
    for figure_name, figure in figures.items():
        for kind in FORMATS:
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, metadata=nothing[kind])
            path = folder / f"{figure_name}.{kind}"
            if path.exists() and path.read_bytes() == buffer.getvalue():
                path.touch()
            else:
                store.write_atomic(path, buffer.getvalue())
            paths.append(path)
    return paths
