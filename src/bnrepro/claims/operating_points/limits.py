"""The largest rate that trains, at every initial scale: known to lie between two rates of the grid."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnrepro.claims import style
from bnrepro.claims.claim import NotRun
from bnrepro.claims.operating_points import rules
from bnrepro.claims.operating_points.ranges import limits, ratios_of_limits
from bnrepro.claims.operating_points.reading import LIMIT, NAME, Map, read
from bnrepro.claims.operating_points.rules import RELU, SIGMOID
from bnrepro.stats import censored
from bnrepro.tables import Results

LABELS = {SIGMOID: "sigmoid", RELU: "ReLU"}
APART = 0.09
"""Distance of the two arms at one scale, in decades."""


def draw(results: Results) -> Figure:
    """Above, the limits of both arms; below, their ratio: a column per nonlinearity."""
    found = _read(results)
    figure, axes = style.canvas(style.PAGE, 4.2, 2, len(found), sharex="col", height_ratios=[1.3, 1])
    for column, each in enumerate(found.values()):
        _limits(axes[0, column], each)
        _ratios(axes[1, column], each)
        axes[1, column].set_xlabel("initial standard deviation")
    axes[0, 0].set_ylabel("largest rate that trains")
    axes[1, 0].set_ylabel("ratio, with over without")
    style.panel_letters(axes[0], [LABELS[activation] for activation in found])
    style.legend_below(figure, axes[0], 2)
    first = next(iter(found.values()))
    seeds = style.count(len(first.seeds), "seed")
    figure.suptitle(
        f"{first.tables.data_label}, {first.budget:,} steps, {seeds}; bars: between two rates of the grid, "
        "over all seeds"
    )
    return figure


def _read(results: Results) -> dict[str, Map]:
    """The finer ladder by nonlinearity, or the map where that was not run."""
    found = {}
    for activation in LABELS:
        try:
            found[activation] = read(results, LIMIT, activation=activation)
        except NotRun:
            continue
    return found or {SIGMOID: read(results, NAME)}


def _limits(axes: Axes, found: Map) -> None:
    for side, (arm, by_scale) in zip((-1, 1), limits(found).items(), strict=True):
        axes.plot([], [], color=style.colour(arm), linewidth=3, label=style.name(arm))
        for scale, seeds in by_scale.items():
            known = [each for each in seeds if each is not None]
            at = scale * 10 ** (side * APART / 2)
            if not known:
                axes.annotate("none", (at, found.rates[0]), (0, 2), textcoords="offset points", ha="center",
                              rotation=90, va="bottom", **style.NOTE | {"color": style.colour(arm)})  # fmt: skip
                continue
            low, high = min(low for low, _ in known), max(high for _, high in known)
            top = found.rates[-1] if math.isinf(high) else high
            axes.plot([at, at], [low, top], color=style.colour(arm), linewidth=3, solid_capstyle="butt")
            if math.isinf(high):
                axes.plot([at], [top], "^", color=style.colour(arm), markersize=5)
    axes.set(xscale="log", yscale="log", ylim=(found.rates[0] / 1.2, found.rates[-1] * 1.2))
    style.decimals(axes.yaxis)
    if all(each is None for by_scale in limits(found).values() for seeds in by_scale.values() for each in seeds):
        style.nothing(axes, "neither arm trains at any rate")
    _around(axes, found)


def _ratios(axes: Axes, found: Map) -> None:
    """The ratio of the limits with the interval of the grid and the seeds; a line at the declared margin."""
    low, high = ratios_of_limits(found)
    known = [scale for scale in low.index if low.loc[scale].notna().any()]
    axes.set(xscale="log", yscale="log")
    bounds = [censored.over_seeds(low.loc[scale].dropna(), high.loc[scale].dropna(), log=True) for scale in known]
    finite = [end for each in bounds for end in (each.low, each.high) if 0 < end < math.inf]
    bottom, top = min([0.8, *finite]) / 1.2, max([4.0, *finite]) * 1.2
    for scale, each in zip(known, bounds, strict=True):
        ends = [each.low or bottom, min(each.high, top)]
        axes.plot([scale, scale], ends, color=style.colour(found.treatment), linewidth=3, solid_capstyle="butt")
        if math.isinf(each.high):
            axes.plot([scale], [top / 1.03], "^", color=style.colour(found.treatment), markersize=5)
    axes.set_ylim(bottom, top)
    style.decimals(axes.yaxis)
    axes.axhline(1, **style.GUIDE)
    style.mark(axes, rules.HIGHER_LEARNING_RATES.margin, "margin:\n3×")
    if not known:
        style.nothing(axes, "no scale at which both arms train")
    _around(axes, found)


def _around(axes: Axes, found: Map) -> None:
    """Every scale of the grid on the x-axis, with room for the bars of the first and the last."""
    axes.set_xlim(found.scales[0] / 1.6, found.scales[-1] * 1.6)
    axes.set_xticks(found.scales, [f"{scale:g}" for scale in found.scales])
    axes.minorticks_off()
    axes.yaxis.set_tick_params(which="minor", left=True)
