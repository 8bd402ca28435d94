"""Final values of the runs of a sweep, and choices on validation: the best value, or cell of a grid."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bnrepro import stats
from bnrepro.tables import Tables

SCALE, RATE = "model.init_scale", "optimizer.lr"


def ends(tables: Tables, split: str = "test", metric: str = "accuracy") -> pd.DataFrame:
    """The runs table, indexed by run, with the ``end`` of each: the mean of its last five evaluations.

    NaN for a run that diverged.
    """
    return _with_end(tables, stats.final(stats.curve(tables.metrics, split, metric)))


def lasts(tables: Tables, split: str = "test", metric: str = "accuracy") -> pd.DataFrame:
    """As :func:`ends`, from the last evaluation only."""
    curves = stats.curve(tables.metrics, split, metric)
    return _with_end(tables, pd.Series({run: curves[run].dropna().iloc[-1] for run in curves}, dtype=float))


def _with_end(tables: Tables, found: pd.Series) -> pd.DataFrame:
    runs = tables.runs.set_index("run")
    return runs.assign(end=found.reindex(runs.index).where(runs["status"] == "finished"))


def best_by(runs: pd.DataFrame, factor: str) -> float | None:
    """The value of ``factor`` with the highest mean ``end`` over the seeds, the smallest of equals.

    A value at which a seed diverged is never chosen; None if that leaves no value.
    """
    means = runs.groupby(factor)["end"].agg(lambda values: values.mean(skipna=False)).dropna()
    return None if means.empty else float(means.index[int(means.argmax())])


def grid_of(tables: Tables, arm: str) -> pd.DataFrame:
    """Final validation accuracy of an arm, the mean over seeds, as a frame of init scales × learning rates.

    A cell in which a seed diverged is NaN, so that it is never chosen.
    """
    runs = ends(tables, "validation")
    cells = runs[runs["arm"] == arm].groupby([SCALE, RATE])["end"]
    return cells.agg(lambda values: values.mean(skipna=False)).unstack()


def best_cell(grid: pd.DataFrame) -> tuple[float, float]:
    """Init scale and learning rate of the best cell, the smallest of equals. Raises ``ValueError`` if all diverged."""
    cells = grid.unstack()  # by rate, then by scale: the first of equals is the smallest
    assert isinstance(cells, pd.Series)
    cells = cells.dropna()
    if cells.empty:
        raise ValueError("every cell of the grid diverged")
    rate, scale = cells.index[int(cells.argmax())]
    return float(scale), float(rate)


def on_edge(grid: pd.DataFrame) -> bool:
    """Whether the best cell lies on the edge of the grid, which is then too small."""
    scale, rate = best_cell(grid)
    return scale in (grid.index[0], grid.index[-1]) or rate in (grid.columns[0], grid.columns[-1])


def steps_ratio(tables: Tables, treatment: str) -> pd.DataFrame:
    """For every cell, the ratio of steps, treatment over none, to the final test accuracy of none in that cell.

    The geometric mean over seeds; NaN where the plain network stays below 50%, near chance.
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
