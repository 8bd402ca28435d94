"""Fig. 1a at three operating points, and the gain against the learning rate."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnrepro.claims import style, sweeps
from bnrepro.claims.claim import NotRun
from bnrepro.claims.operating_points.gain import gains
from bnrepro.claims.operating_points.reading import Cell, Map
from bnrepro.stats import BASELINE, BOTH, paired_difference
from bnrepro.stats.selection import RATE, SCALE

SMALL_SCALE = 0.01
"""§4.1 takes "small random Gaussian values"."""
TOO_SMALL = 10
"""The third panel's rate is the plain network's best one divided by this."""


def stories(found: Map) -> Figure:
    """Fig. 1a three times: small initial weights, each arm tuned, a rate that is too small."""
    figure, [axes] = style.canvas(style.PAGE, 2.7, 1, 3, sharey=True)
    curves = found.curve("test", "accuracy")
    curves = curves[curves.index > 0]
    arms = (BASELINE, found.treatment)
    tuned = {arm: found.best(arm) for arm in arms if found.validation[arm].notna().any()}
    small, slow = dict.fromkeys(arms, small_weights(found)), {}
    if BASELINE in tuned:
        scale, rate = tuned[BASELINE]
        slow = dict.fromkeys(arms, (scale, nearest(found.rates, rate / TOO_SMALL)))
    panels = (("small initial weights", small), ("each tuned", tuned), ("rate too small", slow))
    for panel, (_, chosen) in zip(axes, panels, strict=True):
        panel.set_xscale("log")
        for arm, at in chosen.items():
            runs = [str(run) for run in found.names[arm].loc[at]]
            style.band(panel, curves.reindex(columns=runs), arm, style=style.line(arm))
        if not chosen:
            style.nothing(panel, "a seed diverged\nin every cell")
        style.training(panel, curves)
        panel.set_xlabel("training steps\n" + _where(chosen))
    axes[0].set_ylabel("test accuracy")
    style.panel_letters(axes, [title for title, _ in panels])
    style.legend_below(figure, axes[0], 2)
    seeds = style.summary("median and range", len(found.seeds))
    figure.suptitle(f"{found.tables.data_label}; the same code and the same steps; {seeds}")
    return figure


def small_weights(found: Map) -> Cell:
    """The small initial scale, with the rate that is best there on validation for the plain network."""
    scale = nearest(found.scales, SMALL_SCALE)
    there = found.validation[BASELINE].xs(scale, level=SCALE)
    rate = there.fillna(-1.0).idxmax()
    return scale, float(str(rate))


def nearest(grid: list[float], value: float) -> float:
    """The point of ``grid`` next to ``value`` on a logarithmic axis."""
    return min(grid, key=lambda point: abs(np.log(point / value)))


def _where(chosen: dict[str, Cell]) -> str:
    """Scale and rate, of each arm where they differ."""
    said = {arm: f"σ = {scale:g}, rate {rate:g}" for arm, (scale, rate) in chosen.items()}
    if len(said) > 1 and len(set(said.values())) == 1:
        return said[BASELINE] + "\n"
    return "\n".join(f"{text}, {'without' if arm == BASELINE else 'with'}" for arm, text in said.items())


def gain(found: Map) -> Figure:
    """Accuracy against the rate at each arm's best scale; the gain at equal rates, and with each arm at its best."""
    figure, [[left, right]] = style.canvas(style.PAGE, 2.9, 1, 2)
    final = found.final("test", "accuracy")
    for arm in (BASELINE, found.treatment):
        points = best_scale_by_rate(found, final, arm)
        sweeps.with_intervals(left, points, arm, bounds=(0, 1))
        best = found.best(arm)[1] if found.validation[arm].notna().any() else None
        if best in points:
            left.plot([best], [points[best].value], "o", color=style.colour(arm), fillstyle="none", markersize=9)
    left.set(xscale="log", xlabel="learning rate", ylabel="final test accuracy", ylim=(0, 1.04))
    left.xaxis.set_major_formatter("{x:g}")
    _gaps(right, found, final)
    style.panel_letters([left, right], ["best scale at every rate (ring: best)", "gain at equal rate, both train"])
    style.legend_below(figure, left, 2)
    figure.suptitle(f"{found.tables.data_label}, {found.budget:,} steps; {style.summary('mean', len(found.seeds))}")
    return figure


def best_scale_by_rate(found: Map, final: pd.Series, arm: str) -> dict:
    """By rate, an arm's final test accuracy over the seeds, at the scale that is best there on validation."""
    points = {}
    for rate, there in found.validation[arm].groupby(level=RATE):
        if there.notna().any():
            scale, best = there.index[int(np.nanargmax(there))]
            values = found.over(arm, final, (float(scale), float(best)))
            points[float(str(rate))] = paired_difference(values[np.isfinite(values)])
    return points


def _gaps(axes: Axes, found: Map, final: pd.Series) -> None:
    """At every rate the gain over the scales at which both arms train, and a level line at the gain of both tuned."""
    plain, treated = found.pair(final)
    gaps = 100 * (treated - plain)[found.classes == BOTH]
    points = {float(str(rate)): paired_difference(rows.mean().to_numpy()) for rate, rows in gaps.groupby(level=RATE)}
    axes.set(xscale="log", xlabel="learning rate", ylabel="gain of test accuracy, points")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlim(found.rates[0], found.rates[-1])
    axes.axhline(0, **style.GUIDE)
    if points:
        sweeps.with_intervals(axes, points, found.treatment)
    else:
        style.nothing(axes, "no cell in which\nboth arms train")
    try:
        style.mark(axes, 100 * float(gains(found)["best"].mean()), "each at\nits best")
    except NotRun:
        return
