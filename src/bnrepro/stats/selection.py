"""Where the runs of a sweep end, and the choices that are made on validation: the best cell of a grid, or value."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bnrepro import stats
from bnrepro.tables import Tables

SCALE, RATE = "model.init_scale", "optimizer.lr"


def ends(tables: Tables, split: str = "test", metric: str = "accuracy") -> pd.DataFrame:
    """The runs table, indexed by run, with each run's ``end``: the mean of its last five evaluations; NaN for a run
    that diverged."""
    return _with_end(tables, stats.final(stats.curve(tables.metrics, split, metric)))


def lasts(tables: Tables, split: str = "test", metric: str = "accuracy") -> pd.DataFrame:
    """As :func:`ends`, with the last evaluation alone."""
    curves = stats.curve(tables.metrics, split, metric)
    return _with_end(tables, pd.Series({run: curves[run].dropna().iloc[-1] for run in curves}, dtype=float))


def _with_end(tables: Tables, found: pd.Series) -> pd.DataFrame:
    runs = tables.runs.set_index("run")
    return runs.assign(end=found.reindex(runs.index).where(runs["status"] == "finished"))


def best_by(runs: pd.DataFrame, factor: str) -> float | None:
    """The value of ``factor`` with the highest mean ``end`` over the seeds; of equals, the smaller.

    A value at which a seed diverged is not to be chosen; None if there is none left.
    """
    means = runs.groupby(factor)["end"].agg(lambda values: values.mean(skipna=False)).dropna()
    return None if means.empty else float(str(means.idxmax()))


def grid_of(tables: Tables, arm: str) -> pd.DataFrame:
    """Final validation accuracy of an arm, mean over seeds: init scales (rows) × learning rates (columns).

    A cell in which a seed diverged is NaN: a divergence is no accuracy, and such a cell is not to be chosen.
    """
    runs = ends(tables, "validation")
    cells = runs[runs["arm"] == arm].groupby([SCALE, RATE])["end"]
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
    final = stats.final(accuracy)
    runs = tables.runs[tables.runs["status"] == "finished"]
    wide = runs.pivot(index=[SCALE, RATE, "seed"], columns="arm", values="run")
    if not {"none", treatment} <= set(wide.columns):
        return pd.DataFrame(np.nan, *_axes(runs))
    wide = wide.dropna(subset=["none", treatment])
    wide = wide[final[wide["none"]].to_numpy() >= 0.5]
    budget = accuracy.index.max()
    goals = final[wide["none"]]
    plain = stats.steps_to(accuracy[wide["none"]], goals).fillna(budget)
    other = stats.steps_to(accuracy[wide[treatment]], pd.Series(goals.to_numpy(), index=wide[treatment])).fillna(budget)
    logs = pd.Series(np.log(other.to_numpy() / plain.to_numpy()), index=wide.index)
    means = logs.groupby(level=[0, 1]).mean().unstack()
    index, columns = _axes(runs)
    return means.reindex(index=index, columns=columns).apply(np.exp)


def _axes(runs: pd.DataFrame) -> tuple[list[float], list[float]]:
    return sorted(runs[SCALE].unique()), sorted(runs[RATE].unique())
