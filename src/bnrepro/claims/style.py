"""The house style and a few plot primitives: as wide as a page, colour-blind safe, the same when drawn twice."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from bnrepro import store
from bnrepro.claims import naming
from bnrepro.stats import BASELINE
from bnrepro.tables import Tables

PAGE = 6.9
"""The width of every figure in inches, so that all are scaled alike on a page and their type has one size."""
FORMATS = ("png", "svg", "pdf")

# Okabe & Ito's palette: distinct with any colour vision, and by lightness in print.
COLOURS = {
    "none": "#000000", "batch": "#D55E00", "batch-after": "#0072B2", "batch_no_affine": "#0072B2",
    "batch_noisy": "#009E73", "inception": "#000000", "bn_baseline": "#0072B2", "bn_x5": "#D55E00",
    "bn_x30": "#009E73", "bn_x5_sigmoid": "#CC79A7", "inception_x5": "#999999", "inception_sigmoid": "#E69F00",
    "inception_changes": "#0072B2", "inception_changes_x2": "#009E73", "inception_changes_x5": "#CC79A7",
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
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
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
NOTE: Any = {"fontsize": 7.5, "color": "0.35"}
"""The look of words inside a panel."""


def colour(arm: str) -> str:
    """The arm's colour, the same in every figure."""
    return COLOURS.get(arm) or OTHER_COLOURS[sum(arm.encode()) % len(OTHER_COLOURS)]


def name(arm: str) -> str:
    """The arm's name in a legend."""
    return naming.legend(arm)


def plain() -> str:
    """The baseline's name within a sentence."""
    return name(BASELINE)[:1].lower() + name(BASELINE)[1:]


def line(arm: str) -> Literal["-", "--", ":"]:
    """The arm's line style: dashed without a normaliser, dotted with one after the activation, else solid."""
    return "--" if arm == BASELINE else ":" if arm.endswith("-after") else "-"


def house_style() -> AbstractContextManager[None]:
    """The style while figures are built and saved: a text takes its font when it is made.

    It starts from matplotlib's defaults: a user's matplotlibrc changes no figure.
    """
    return matplotlib.style.context(["default", STYLE])


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
    """Median and range over the seeds (columns) of an arm, against steps (rows). The legend says if there is none."""
    shown, label = curves.dropna(how="all"), label or name(arm)
    median_and_range(axes, shown, style, colour(arm), label=label if len(shown) else f"{label}: no value")


def mark(axes: Axes, height: float, text: str) -> None:
    """A level line with ``text`` beyond the panel's right edge, where no data are; none where ``height`` is NaN."""
    if not np.isfinite(height):
        return
    axes.axhline(height, **GUIDE)
    axes.annotate(
        text, (1, height), (3, 0), xycoords=axes.get_yaxis_transform(),
        textcoords="offset points", va="center", annotation_clip=False, **NOTE,
    )  # fmt: skip


def nothing(axes: Axes, why: str) -> None:
    """Words in the middle of a panel, in place of what it has no data for."""
    axes.text(0.5, 0.5, why, ha="center", va="center", transform=axes.transAxes, gid="nothing", **NOTE)
    axes.tick_params(axis="y", which="both", left=False, labelleft=False)


def completed(figure: Figure) -> Figure:
    """``figure``, with words in each panel that has nothing to show."""
    for axes in figure.axes:
        # Lines across the whole panel, which mark a margin, are drawn in coordinates of their own.
        lines = [np.asarray(each.get_xydata()) for each in axes.lines if each.get_transform() is axes.transData]
        drawn = any(np.isfinite(points.astype(float)).all(axis=1).any() for points in lines)
        if not (drawn or axes.images or axes.patches or any(text.get_gid() == "nothing" for text in axes.texts)):
            nothing(axes, "no data")
    return figure


def training(axes: Axes, curves: pd.DataFrame) -> None:
    """An x-axis of training steps from the first to the last row of ``curves``."""
    axes.set_xlabel("training steps")
    if len(curves) > 1:
        axes.set_xlim(curves.index.min(), curves.index.max())
    thousands(axes)


def thousands(axes: Axes) -> None:
    """Steps on the x-axis as 10K, 20K, … as in the paper's figures."""
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}K" if value >= 1000 else f"{value:g}")


def decimals(axis: Axis) -> None:
    """A logarithmic axis that spans few decades gets ticks at 1, 2, 5, written as plain numbers."""
    low, high = axis.get_view_interval()
    if high / low < 300:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())


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
        axes.text(column, row, shown, ha="center", va="center", fontsize=7.5, color="white" if dark else "black")


def panel_letters(panels: Iterable[Axes], titles: Sequence[str]) -> None:
    """Titles of the panels, lettered (a), (b), … as in the paper."""
    for letter, panel, title in zip("abcdefgh", panels, titles, strict=False):
        panel.set_title(f"({letter}) {title}")


def legend_below(figure: Figure, panels: Axes | Iterable[Axes], columns: int) -> None:
    """One legend under all panels, of what ``panels`` show, each label once. A legend in a panel would hide data."""
    shown = {}
    for axes in [panels] if isinstance(panels, Axes) else panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            shown.setdefault(label, handle)
    if shown:
        figure.legend(shown.values(), shown, loc="outside lower center", ncols=columns)


# --------------------------------------------------------------------------------------------------- captions


def count(number: int, noun: str) -> str:
    """``1 seed``, ``10 seeds``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def summary(what: str, number: int, noun: str = "seed") -> str:
    """``median and range of 10 seeds``, or of one, which has neither, ``1 seed``."""
    return count(number, noun) if number == 1 else f"{what} of {count(number, noun)}"


def range_note(tables: Tables) -> str:
    """Data and seeds, for the title of curves."""
    return f"{tables.data_label}; {summary('median and range', tables.runs['seed'].nunique())}"


def seeds_note(tables: Tables) -> str:
    """Data and seeds, for the title of means."""
    seeds = tables.runs["seed"].nunique()
    return f"{tables.data_label}; {summary('mean', seeds)}" + (" with its 95% interval" if seeds > 1 else "")


def signed(value: float, digits: int = 1) -> str:
    """``+4.4``, ``−5.0`` with a true minus, and zero without a sign."""
    rounded = round(value, digits)
    return f"{rounded:+.{digits}f}".replace("-", "−") if rounded else f"{0:.{digits}f}"


def late(curves: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``curves`` after the first tenth of the steps, whose rise from chance would take most of an axis.

    All of them, where fewer than two lie after it.
    """
    found = curves[curves.index >= curves.index.max() / 10]
    return found if len(found) > 1 else curves


# -------------------------------------------------------------------------------------------------- sweeps


def arms_of(tables: Tables, treatment: str) -> list[str]:
    """The arms that were run: the baseline, the treatment's, then any others that a user added."""
    first = [BASELINE, treatment, f"{treatment}-after"]
    found = set(tables.runs["arm"])
    return [arm for arm in first if arm in found] + sorted(found - set(first))


def runs_of(tables: Tables, arm: str) -> list[str]:
    """The names of an arm's runs."""
    return list(tables.runs.loc[tables.runs["arm"] == arm, "run"])


def curves_of(curves: pd.DataFrame, tables: Tables, arm: str) -> pd.DataFrame:
    """The columns of an arm's runs; NaN for a run that diverged before it recorded a value."""
    return curves.reindex(columns=runs_of(tables, arm))


# ------------------------------------------------------------------------------------------------------ files


def save(figures: Mapping[str, Figure], folder: Path, kinds: Sequence[str] = ()) -> list[Path]:
    """Write each figure as PNG, SVG and PDF, or as ``kinds`` of them.

    On one kind of machine the bytes depend on the figure and the pinned versions alone.
    """
    nothing = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None}}
    paths = []
    for figure_name, figure in figures.items():
        for kind in kinds or FORMATS:
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, metadata=nothing[kind])
            path = folder / f"{figure_name}.{kind}"
            if not path.exists() or path.read_bytes() != buffer.getvalue():
                store.write_atomic(path, buffer.getvalue())
            paths.append(path)
    return paths
