"""The picture of the map: who trains in which cell, and who is faster where both do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke

from bnrepro.claims import style
from bnrepro.claims.operating_points import effects
from bnrepro.claims.operating_points.effects import Effect
from bnrepro.claims.operating_points.reading import Map
from bnrepro.stats import BASELINE, BOTH, NEITHER, ONLY_BASELINE, ONLY_TREATMENT
from bnrepro.stats.selection import RATE, SCALE

MOMENTUM_LIKE = 0.1
"""Rate 0.01 with momentum 0.9 moves the weights as far as 0.1 without, in the long run: 0.01 ÷ (1 − 0.9)."""
DEFAULT_SCALES = (0.02, 0.06)
"""The library's default initialisation: uniform within ±1/√(fan-in), a standard deviation of 1/√(3·fan-in). With 784
and 100 inputs that is 0.021 and 0.058."""
FASTEST = 16.0
"""The colours end at this ratio, and at its inverse."""
PALE = 0.22
"""Opacity of the cells in which only one arm trains."""


def colours(treatment: str) -> LinearSegmentedColormap:
    """From the treatment's colour over white to the baseline's: whose colour it is, has the better of it."""
    ends = [style.colour(treatment), "white", "0.25"]
    return LinearSegmentedColormap.from_list("arms", ends)


def means(found: Map, effect: Effect, row: str | None = None) -> pd.DataFrame:
    """An effect as scales × rates, in the cells in which both arms train: the mean over the seeds, and over the axis.

    Geometric for ratios; ``row`` takes one row of the axis alone.
    """
    values = effects.over_cells(effect, found, found.cells()).value
    if row is not None:
        values = values[values.index.get_level_values("axis") == row]
    ratio = effect not in effects.DIFFERENCES
    values = values.apply(np.log) if ratio else values
    cells = values.groupby(level=[SCALE, RATE]).mean().mean(axis=1)
    return (cells.apply(np.exp) if ratio else cells).unstack().reindex(index=found.scales, columns=found.rates)


def draw(found: Map) -> Figure:
    """The plane of initial scale × learning rate."""
    figure, axes = style.canvas(style.PAGE, 4.5, 2, 1, height_ratios=[1, 0.035])
    plane, strip = axes[:, 0]
    norm = LogNorm(1 / FASTEST, FASTEST)
    cells(plane, found, means(found, effects.steps_to_accuracy), norm, numbers=True)
    _tuned(plane, found)
    _elsewhere(plane, found)
    plane.set(xlabel="learning rate", ylabel="initial standard deviation")
    ticks = [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8, 16]
    scale_below(strip, norm, found.treatment, ticks, ["1/16", "1/8", "1/4", "1/2", "1", "2", "4", "8", "16"])
    with_, without = within(found.treatment), within(BASELINE)
    strip.set_xlabel(f"steps {with_} ÷ steps {without}, to the final test accuracy {without}")
    figure.legend(handles=_keys(found), loc="outside lower center", ncols=3)
    figure.suptitle(f"{found.tables.data_label}, {found.budget:,} steps; {style.summary('mean', len(found.seeds))}")
    return figure


def within(arm: str) -> str:
    """An arm's name within a sentence: ``with BN``."""
    said = style.name(arm)
    return said[:1].lower() + said[1:] if said.startswith("With") else said


def cells(axes: Axes, found: Map, values: pd.DataFrame, norm: Normalize, numbers: bool = False) -> None:
    """The cells: coloured by ``values`` where both arms train, hatched where one does, blank where none does.

    A dot says that both train but have no value: neither reaches the target.
    """
    shown = np.ma.masked_invalid(values.to_numpy(dtype=float))
    axes.imshow(shown, cmap=colours(found.treatment), norm=norm, aspect="auto", origin="lower")
    for (scale, rate), kind in found.classes.items():  # pyright: ignore[reportGeneralTypeIssues]
        row, column = found.scales.index(scale), found.rates.index(rate)
        if kind in (ONLY_TREATMENT, ONLY_BASELINE):
            arm = found.treatment if kind == ONLY_TREATMENT else BASELINE
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, linewidth=0, **_hatched(arm)))
        value = float(values.to_numpy(dtype=float)[row, column])
        if kind == BOTH and not np.isfinite(value):
            axes.plot([column], [row], ".", color="0.6", markersize=2.5)
        elif kind == BOTH and numbers:
            red, green, blue, _ = colours(found.treatment)(norm(value))
            dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.55
            axes.text(column, row, _short(value), ha="center", va="center", fontsize=7.5,
                      color="white" if dark else "black")  # fmt: skip
    for place in np.arange(0.5, len(found.rates) - 1):
        axes.axvline(place, color="white", linewidth=0.8)
    for place in np.arange(0.5, len(found.scales) - 1):
        axes.axhline(place, color="white", linewidth=0.8)
    axes.set_xticks(range(len(found.rates)), [f"{rate:g}" for rate in found.rates])
    axes.set_yticks(range(len(found.scales)), [f"{scale:g}" for scale in found.scales])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color("0.7")


def _short(ratio: float) -> str:
    """``0.08×``, ``0.4×``, ``12×``."""
    return f"{ratio:.2g}×" if ratio < 10 else f"{ratio:.0f}×"


def _hatched(arm: str) -> dict:
    shade = style.colour(arm)
    return {"facecolor": to_rgba(shade, PALE), "edgecolor": to_rgba(shade, 0.45), "hatch": "////"}


def _keys(found: Map) -> list[Patch]:
    """The legend's entries: classes of cells, with their number, and the tuned cells."""
    counts = found.classes.value_counts()
    entries = [
        Patch(
            linewidth=0,
            label=f"trains only {within(arm)} ({style.count(int(counts.get(kind, 0)), 'cell')})",
            **_hatched(arm),
        )
        for arm, kind in ((found.treatment, ONLY_TREATMENT), (BASELINE, ONLY_BASELINE))
    ]
    entries.append(
        Patch(
            facecolor="white",
            edgecolor="0.7",
            label=f"trains with neither ({style.count(int(counts.get(NEITHER, 0)), 'cell')})",
        )
    )
    for arm in (BASELINE, found.treatment):
        entries.append(Patch(fill=False, edgecolor=style.colour(arm), linestyle=style.line(arm), linewidth=1.6,
                             label=f"best on validation, {within(arm)}"))  # fmt: skip
    return entries


def _tuned(axes: Axes, found: Map) -> None:
    """A box around each arm's best cell on validation."""
    for inset, arm in ((0.05, found.treatment), (0.12, BASELINE)):
        if found.validation[arm].notna().any():
            scale, rate = found.best(arm)
            corner = found.rates.index(rate) - 0.5 + inset, found.scales.index(scale) - 0.5 + inset
            axes.add_patch(Rectangle(corner, 1 - 2 * inset, 1 - 2 * inset, fill=False, linewidth=1.6,
                                     edgecolor=style.colour(arm), linestyle=style.line(arm),
                                     path_effects=[withStroke(linewidth=4, foreground="white")]))  # fmt: skip


def _elsewhere(axes: Axes, found: Map) -> None:
    """Where other people's settings lie: marks outside of the plane, at its upper and right edge."""
    place = _place(MOMENTUM_LIKE, found.rates)
    if place is not None:
        axes.annotate(
            "rate 0.01 with momentum 0.9\nacts like this rate", (place, 1), (0, 9),
            xycoords=axes.get_xaxis_transform(), textcoords="offset points", ha="center", va="bottom",
            annotation_clip=False, arrowprops={"arrowstyle": "-|>", "color": "0.35", "lw": 0.6}, **style.NOTE,
        )  # fmt: skip
    ends = [_place(scale, found.scales) for scale in DEFAULT_SCALES]
    low, high = ends
    if low is not None and high is not None:
        right = axes.get_yaxis_transform()
        axes.plot([1.012, 1.012], [low, high], color="0.35", linewidth=2.2, transform=right, clip_on=False,
                  solid_capstyle="butt")  # fmt: skip
        axes.annotate(
            "the library's\ndefault\ninitialisation", (1.012, (low + high) / 2), (6, 0), xycoords=right,
            textcoords="offset points", va="center", annotation_clip=False, **style.NOTE,
        )  # fmt: skip


def _place(value: float, grid: Sequence[float]) -> float | None:
    """The place of ``value`` on an axis of equal steps between the points of ``grid``; None beyond its ends."""
    if not grid[0] <= value <= grid[-1]:
        return None
    return float(np.interp(np.log(value), np.log(grid), np.arange(len(grid))))


def scale_below(axes: Axes, norm: Normalize, treatment: str, ticks: Sequence[float], labels: Sequence[str]) -> None:
    """A strip of all colours, with ``ticks`` at these values."""
    places = np.linspace(0, 1, 256)
    axes.imshow(np.ma.masked_invalid(norm.inverse(places)[None, :]), cmap=colours(treatment), norm=norm, aspect="auto",
                extent=(0, 1, 0, 1))  # fmt: skip
    axes.set_xticks([float(norm(tick)) for tick in ticks], list(labels))
    axes.set_yticks([])
    axes.tick_params(length=2)
    axes.spines[:].set_visible(False)
