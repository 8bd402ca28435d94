"""Panels that compare arms seed by seed over training: bands of single arms would hide what all seeds share."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from bnrepro.claims import style
from bnrepro.stats import Interval, Pairs, paired_difference, paired_ratio


def ratios(pairs: Pairs, curves: pd.DataFrame) -> dict[float, Interval]:
    """Treatment over baseline by step, over the seeds with two positive values there. ``curves``: steps × runs."""
    treated, without = (curves.reindex(columns=arm).to_numpy(dtype=float) for arm in (pairs.treatment, pairs.baseline))
    found = {}
    for step, over, under in zip(curves.index, treated, without, strict=True):
        both = np.isfinite(over) & np.isfinite(under) & (over > 0) & (under > 0)
        if both.any():
            found[float(step)] = paired_ratio(over[both], under[both])
    return found


def differences(pairs: Pairs, curves: pd.DataFrame) -> dict[float, Interval]:
    """Treatment minus baseline by step, over the seeds with two values there. ``curves``: steps × runs."""
    gaps = curves.reindex(columns=pairs.treatment).to_numpy() - curves.reindex(columns=pairs.baseline).to_numpy()
    return {
        float(step): paired_difference(row[np.isfinite(row)])
        for step, row in zip(curves.index, gaps, strict=True)
        if np.isfinite(row).any()
    }


def over_steps(
    axes: Axes, points: Mapping[float, Interval], arm: str, whole: Interval | None = None, log: bool = False
) -> None:
    """A line of estimates over training, in a band of their 95% intervals. Nothing is drawn without points.

    ``whole``, the ratio over all steps together, is a dotted line, and its number stands in the legend. The band is cut
    where it leaves the estimates far behind, as it does with two seeds. With ``log`` the values are ratios.
    """
    if not points:
        return
    value, low, high = (
        np.array([getattr(each, part) for each in points.values()]) for part in ("value", "low", "high")
    )
    if log:
        bounds = value.min() / 8, value.max() * 8
    else:
        spread = max(float(np.ptp(value)), 1e-3)
        bounds = value.min() - 2 * spread, value.max() + 2 * spread
    shade, label = style.colour(arm), style.name(arm)
    if whole is not None:
        label += f": {whole.value:.3g}× over all steps"
        axes.axhline(whole.value, color=shade, linewidth=1.1, linestyle=(0, (1, 1)))
    axes.plot(list(points), value, color=shade, linewidth=0.9, label=label)
    axes.fill_between(list(points), *np.clip([low, high], *bounds), color=shade, alpha=0.18, linewidth=0)


def forest(axes: Axes, rows: Mapping[str, Mapping[str, Interval]]) -> None:
    """Ratios with their 95% intervals on a logarithmic axis around 1: a row per name, in it a dot per arm."""
    if not rows:
        style.nothing(axes, "no seed finished\nwith and without")
        return
    arms = list(dict.fromkeys(arm for found in rows.values() for arm in found))
    values = np.array([each.value for found in rows.values() for each in found.values()])
    low, high = octaves(axes, [each for found in rows.values() for each in found.values()])
    for row, found in enumerate(rows.values()):
        for arm, each in found.items():
            place = row + 0.5 * ((arms.index(arm) + 0.5) / len(arms) - 0.5)
            ends = np.clip([each.low, each.high], low, high)
            axes.plot(ends, [place, place], color=style.colour(arm), linewidth=1.4)
            axes.plot([each.value], [place], "o", color=style.colour(arm), markersize=4)
            _beside(
                axes, place, f"{each.value:.2f}×" if values.max() < 100 else f"{each.value:.3g}×", style.colour(arm)
            )
    axes.axvline(1, **style.GUIDE)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.tick_params(axis="y", length=0)
    axes.set(ylim=(len(rows) - 0.5, -0.5))


def octaves(axes: Axes, shown: list[Interval]) -> tuple[float, float]:
    """A logarithmic x-axis around 1 with ticks at powers of two, written 1/2, 1, 2. Returns its limits.

    They hold every estimate, and of the intervals what lies within a factor of 8 of the estimates.
    """
    values = np.array([each.value for each in shown] or [1.0])
    ends = np.clip([(each.low, each.high) for each in shown] or [(1.0, 1.0)], values.min() / 8, values.max() * 8)
    bounds = np.concatenate([values, ends.ravel()])
    low, high = min(0.5, 0.9 * float(np.nanmin(bounds))), max(2.0, 1.1 * float(np.nanmax(bounds)))
    axes.set(xscale="log", xlim=(low, high))
    powers = range(int(np.ceil(np.log2(low))), int(np.floor(np.log2(high))) + 1)
    ticks = [2.0**power for power in powers if power % max(1, len(powers) // 5) == 0]
    axes.set_xticks(ticks, [f"{tick:g}" if tick >= 1 else f"1/{1 / tick:g}" for tick in ticks])
    axes.minorticks_off()
    return low, high


def _beside(axes: Axes, height: float, text: str, shade: str) -> None:
    """``text`` at the panel's right edge, at ``height`` on the y-axis."""
    axes.annotate(
        text, (1, height), (3, 0), xycoords=axes.get_yaxis_transform(), textcoords="offset points", va="center",
        annotation_clip=False, **style.NOTE | {"color": shade},
    )  # fmt: skip
