"""What the pictures of the sweeps have in common: an end of training against a swept value, arm by arm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from bnrepro import stats
from bnrepro.figures import colour, name
from bnrepro.tables import Tables

STYLES = {"none": "--"}


def ends(tables: Tables, split: str = "test", metric: str = "accuracy") -> pd.DataFrame:
    """The runs table with each run's ``end`` (mean of its last five evaluations); NaN for a run that diverged."""
    final = stats.final(stats.curve(tables.metrics, split, metric))
    runs = tables.runs.set_index("run")
    return runs.assign(end=final.reindex(runs.index).where(runs["status"] == "finished"))


def accuracy_against(
    axes: Axes, tables: Tables, factor: str, arms: Sequence[str], split: str = "test", label: bool = True
) -> None:
    """Mean over seeds with its 95% interval against ``factor``; runs that diverged are crosses at the bottom."""
    runs = ends(tables, split)
    for arm in (arm for arm in arms if arm in set(runs["arm"])):
        chosen = runs[runs["arm"] == arm]
        points = [
            (float(str(value)), stats.paired_difference(group["end"].dropna().to_numpy()))
            for value, group in chosen.groupby(factor)
            if group["end"].notna().any()
        ]
        x = [value for value, _ in points]
        y = np.array([found.value for _, found in points])
        low = np.array([found.low for _, found in points])
        high = np.array([found.high for _, found in points])
        style = STYLES.get(arm, "-")
        axes.plot(x, y, style, marker="o", markersize=2.5, color=colour(arm), label=name(arm) if label else None)
        axes.fill_between(x, low, high, color=colour(arm), alpha=0.18, linewidth=0)
        lost = chosen[chosen["status"] == "diverged"]
        if len(lost):
            axes.plot(lost[factor], np.zeros(len(lost)), "x", color=colour(arm), markersize=4, clip_on=False)
