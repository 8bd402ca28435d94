"""Panels of a sweep: an arm's mean over the seeds against a factor, and how many seeds have no value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

from bnrepro.claims import style
from bnrepro.stats import BASELINE, Interval, paired_difference

ROW = 0.12
"""Height in inches of a row of numbers in a strip."""


def marker(arm: str) -> str:
    """The arm's marker in a sweep: each shape shows behind the others."""
    return "o" if arm == BASELINE else "^" if arm.endswith("-after") else "s" if arm == "batch" else "D"


def with_intervals(
    axes: Axes, points: Mapping[float, Interval], arm: str, bounds: tuple[float, float] = (-np.inf, np.inf)
) -> None:
    """An arm's estimates, by their place on the x-axis, with a band of their 95% intervals.

    ``bounds`` are the values that the quantity can have: of two seeds, an interval reaches far beyond them.
    """
    value, low, high = ([getattr(each, part) for each in points.values()] for part in ("value", "low", "high"))
    shade, baseline = style.colour(arm), arm == BASELINE
    # The baseline's hollow marks and dashes lie on top, where what is behind them can be seen.
    axes.plot(
        list(points), value, style.line(arm), marker=marker(arm), markersize=4,
        markerfacecolor="white" if baseline else shade, color=shade, label=style.name(arm), zorder=3 if baseline else 2,
    )  # fmt: skip
    axes.fill_between(list(points), *np.clip([low, high], *bounds), color=shade, alpha=0.18, linewidth=0)


def strips_above(panels: Iterable[Axes], counts: Sequence[Mapping[str, Mapping[float, int]]], label: str) -> None:
    """Above each panel a strip with numbers of runs that have no value there: a row per arm, at their places in x.

    They stand apart from the panel, since any place in it would read as a value. ``counts`` are by panel, arm, place.
    """
    rows = [arm for arm in counts[0] if any(any(each[arm].values()) for each in counts)] if counts else []
    for panel, found in zip(panels, counts, strict=True):
        panel.update_datalim([(place, 0.0) for places in found.values() for place in places], updatey=False)
        panel.autoscale_view()
        if not rows:
            continue
        # In width a share of the panel, in height inches above its upper edge.
        above: Any = panel.figure.dpi_scale_trans + ScaledTranslation(0, 1, cast("Any", panel.transAxes))
        place_above = blended_transform_factory(panel.transAxes, above)
        strip = panel.inset_axes((0, 0.06, 1, len(rows) * ROW), transform=place_above, sharex=panel)
        for row, arm in enumerate(rows):
            for place, number in found[arm].items():
                if number:
                    look = style.NOTE | {"color": style.colour(arm)}
                    strip.text(place, row, str(number), ha="center", va="center", **look)
        strip.set(ylim=(len(rows) - 0.5, -0.5), facecolor="0.95")
        strip.set_yticks([(len(rows) - 1) / 2], [label if found is counts[0] else ""])
        strip.tick_params(which="both", length=0, labelbottom=False)
        strip.spines[:].set_visible(False)


def ends_against(panels: Sequence[Axes], runs: Sequence[pd.DataFrame], factor: str, arms: list[str]) -> None:
    """In each panel the mean ``end`` over the seeds against ``factor``, with its interval, for the runs of the panel.

    Above stands how many seeds diverged; where only some did, the line passes through the mean of the others.
    """
    counts = []
    for axes, rows in zip(panels, runs, strict=True):
        for arm in arms:
            points = {
                float(str(value)): paired_difference(ends.dropna())
                for value, ends in rows[rows["arm"] == arm].groupby(factor)["end"]
                if ends.notna().any()
            }
            with_intervals(axes, points, arm, bounds=(0, 1))
        lost = rows.assign(lost=rows["status"] == "diverged")
        counts.append({arm: lost[lost["arm"] == arm].groupby(factor)["lost"].sum().to_dict() for arm in arms})
    strips_above(panels, counts, "seeds that diverged")
