"""Choices that are made on validation: the best cell of a grid, from its committed table."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bnrepro import stats
from bnrepro.tables import Tables

SCALE, RATE = "model.init_scale", "optimizer.lr"


def grid_of(tables: Tables, arm: str) -> pd.DataFrame:
    """Final validation accuracy of an arm, mean over seeds: init scales (rows) × learning rates (columns).

    A cell in which a seed diverged is NaN: a divergence is no accuracy, and such a cell is not to be chosen.
    """
    runs = tables.runs[tables.runs["arm"] == arm].set_index("run")
    ends = stats.final(stats.curve(tables.metrics, "validation", "accuracy"))
    accuracy = ends.reindex(runs.index).where(runs["status"] == "finished")
    cells = runs.assign(accuracy=accuracy).groupby([SCALE, RATE])["accuracy"]
    return cells.agg(lambda values: values.mean(skipna=False)).unstack()


def best_cell(grid: pd.DataFrame) -> tuple[float, float]:
    """Init scale and learning rate of the highest mean; of equals, the smaller rate. Raises ``ValueError`` if none."""
    values = grid.to_numpy(dtype=float)
    cells = [(float(scale), float(rate)) for scale in grid.index for rate in grid.columns]
    ranked = [
        (value, -rate, -scale) for (scale, rate), value in zip(cells, values.ravel(), strict=True) if value == value
    ]
    if not ranked:
        raise ValueError("every cell of the grid diverged")
    _, rate, scale = max(ranked)
    return -scale, -rate


def on_edge(grid: pd.DataFrame) -> bool:
    """Whether the best cell lies on the border of the grid, which then has to be extended."""
    scale, rate = best_cell(grid)
    return scale in (grid.index[0], grid.index[-1]) or rate in (grid.columns[0], grid.columns[-1])


def steps_ratio(tables: Tables, treatment: str) -> pd.DataFrame:
    """For every cell the ratio of steps, treatment over none, to the final test accuracy of none in the same cell.

    Geometric mean over seeds; NaN where the plain network stays near chance (below 50%), since nothing is reached.
    """
    accuracy = stats.curve(tables.metrics, "test", "accuracy")
    ends = stats.final(accuracy)
    runs = tables.runs[tables.runs["status"] == "finished"]
    wide = runs.pivot(index=[SCALE, RATE, "seed"], columns="arm", values="run")
    if not {"none", treatment} <= set(wide.columns):
        return pd.DataFrame(np.nan, *_axes(runs))
    wide = wide.dropna(subset=["none", treatment])
    wide = wide[ends[wide["none"]].to_numpy() >= 0.5]
    budget = accuracy.index.max()
    goals = ends[wide["none"]]
    plain = stats.steps_to(accuracy[wide["none"]], goals).fillna(budget)
    other = stats.steps_to(accuracy[wide[treatment]], pd.Series(goals.to_numpy(), index=wide[treatment])).fillna(budget)
    logs = pd.Series(np.log(other.to_numpy() / plain.to_numpy()), index=wide.index)
    means = logs.groupby(level=[0, 1]).mean().unstack()
    index, columns = _axes(runs)
    return means.reindex(index=index, columns=columns).apply(np.exp)


def _axes(runs: pd.DataFrame) -> tuple[list[float], list[float]]:
    return sorted(runs[SCALE].unique()), sorted(runs[RATE].unique())
