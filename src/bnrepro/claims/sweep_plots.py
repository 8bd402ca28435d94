"""What the pictures of the sweeps have in common: an end of training against a swept value, arm by arm."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from bnrepro import stats
from bnrepro.claims.style import colour, name
from bnrepro.tables import Tables

STYLES = {"none": "--"}
AFTER = ":"


def arms_of(tables: Tables, treatment: str) -> list[str]:
    """The arms that were run, the baseline first, then the treatment's, then any others that a user added."""
    first = ["none", treatment, f"{treatment}-after"]
    found = set(tables.runs["arm"])
    return [arm for arm in first if arm in found] + sorted(found - set(first))


def style(arm: str) -> str:
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
        axes.plot(x, y, style(arm), marker="o", markersize=2.5, color=colour(arm), label=name(arm))
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
