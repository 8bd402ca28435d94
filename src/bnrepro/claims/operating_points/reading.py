"""A map's runs as frames of cells × seeds, and the classes of its cells."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bnrepro import stats
from bnrepro.claims.claim import Inapplicable, NotRun, tables_of
from bnrepro.claims.operating_points.rules import PASS
from bnrepro.stats import BASELINE, BOTH, maps
from bnrepro.stats.selection import RATE, SCALE
from bnrepro.tables import Results, Tables

NAME, DIGITS, LIMIT = "operating_points", "operating_points_digits", "stability_limit"
CELL = [SCALE, RATE]
Cell = tuple[float, float]


@dataclass(frozen=True, eq=False)  # hashed by identity, so that each map has a cache of its own
class Map:
    """The runs of none and of ``treatment`` over initial scale × learning rate, up to ``budget`` steps.

    ``names`` holds the runs' names, cells (rows) × (arm, seed): the seeds that every cell has with both arms.
    ``incomplete`` are cells that lack a run.
    """

    tables: Tables
    treatment: str
    budget: int
    names: pd.DataFrame
    incomplete: list[Cell]

    @property
    def seeds(self) -> list[int]:
        return list(self.names[BASELINE].columns)

    @property
    def scales(self) -> list[float]:
        return sorted(set(self.names.index.get_level_values(SCALE)))

    @property
    def rates(self) -> list[float]:
        return sorted(set(self.names.index.get_level_values(RATE)))

    @functools.cache  # noqa: B019 - lives as long as one report
    def curve(self, split: str, metric: str) -> pd.DataFrame:
        """One metric as steps × runs, up to the budget."""
        found = stats.curve(self.tables.metrics, split, metric)
        return found[found.index <= self.budget]

    def of(self, values: pd.Series, arm: str) -> pd.DataFrame:
        """One value per run as cells × seeds of an arm; NaN for a run without a value."""
        chosen = self.names[arm]
        found = values.reindex(chosen.to_numpy().ravel()).to_numpy(dtype=float).reshape(chosen.shape)
        return pd.DataFrame(found, index=chosen.index, columns=chosen.columns)

    def pair(self, values: pd.Series) -> tuple[pd.DataFrame, pd.DataFrame]:
        """One value per run as cells × seeds: of the network without, of that with."""
        return self.of(values, BASELINE), self.of(values, self.treatment)

    @functools.cache  # noqa: B019
    def last(self, split: str, metric: str) -> pd.Series:
        """Per run, the last evaluation within the budget; NaN for a run that had diverged by then."""
        curves = self.curve(split, metric)
        found = curves.ffill().iloc[-1] if len(curves) else pd.Series(dtype=float)
        return found.where(self._alive.reindex(found.index, fill_value=False))

    @functools.cache  # noqa: B019
    def final(self, split: str, metric: str) -> pd.Series:
        """Per run, the mean of the last five evaluations within the budget; NaN if it had diverged by then."""
        curves = self.curve(split, metric)
        whole = curves.notna().all()  # nearly all, and a column at a time takes seconds
        found = pd.concat(
            [curves.loc[:, whole].tail(stats.FINAL_EVALUATIONS).mean(), stats.final(curves.loc[:, ~whole])]
        )
        return found.where(self._alive.reindex(found.index, fill_value=False))

    @functools.cached_property
    def _alive(self) -> pd.Series:
        """Whether a run had not diverged by the budget."""
        runs = self.tables.runs.set_index("run")
        return (runs["status"] == "finished") | (runs["last_step"] > self.budget)

    @functools.cached_property
    def passing(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Which runs train: cells × seeds without, and with."""
        plain, treated = self.pair(self.last("validation", "accuracy"))
        return plain >= PASS, treated >= PASS

    @functools.cached_property
    def classes(self) -> pd.Series:
        """The class of every cell."""
        return maps.classes(*self.passing)

    def cells(self, kind: str = BOTH) -> pd.MultiIndex:
        """The cells of a class."""
        found: Any = self.classes.index[self.classes == kind]
        return found

    @functools.cached_property
    def validation(self) -> dict[str, pd.Series]:
        """By arm, every cell's final validation accuracy, the mean over the seeds; NaN where one diverged."""
        final = self.final("validation", "accuracy")
        return {arm: self.of(final, arm).mean(axis=1, skipna=False) for arm in (BASELINE, self.treatment)}

    def best(self, arm: str) -> Cell:
        """The cell with the highest final validation accuracy of an arm, the smallest rate and scale of equals."""
        found = self.validation[arm].dropna()
        if found.empty:
            raise Inapplicable(f"{arm}: in every cell of {self.tables.experiment} a seed diverged")
        ordered = found.sort_index(level=[RATE, SCALE])
        scale, rate = ordered.index[int(ordered.argmax())]
        return float(scale), float(rate)

    def over(self, arm: str, values: pd.Series, cell: Cell) -> np.ndarray:
        """An arm's values in one cell (seeds,)."""
        rows = self.of(values, arm)
        return rows.to_numpy(dtype=float)[rows.index.get_loc(cell)]


def read(results: Results, experiment: str = NAME, until: int | None = None, activation: str | None = None) -> Map:
    """A map, as it stands after ``until`` steps; of one ``activation``, where the runs have several.

    Raises :class:`NotRun` where no cell has both arms, or where the runs differ in more than cell, arm and seed.
    """
    tables = tables_of(results, experiment)
    treatment = results.treatment
    runs = tables.runs[tables.runs["arm"].isin([BASELINE, treatment])]
    if activation is not None:
        runs = runs[runs["model.activation"] == activation]
    if runs.duplicated([*CELL, "arm", "seed"]).any():
        raise Inapplicable(f"the runs of {experiment} differ in more than initial scale, rate, arm and seed")
    wide = runs.pivot(index=CELL, columns=["arm", "seed"], values="run").sort_index().sort_index(axis=1)
    if not {BASELINE, treatment} <= set(wide.columns.get_level_values(0)):
        raise NotRun(experiment, f"{experiment} has no runs of both {BASELINE} and {treatment}")
    shared = wide[BASELINE].columns.intersection(wide[treatment].columns)
    wide = wide[[(arm, seed) for arm in (BASELINE, treatment) for seed in shared]]
    complete = wide.dropna()
    if complete.empty or not len(shared):
        raise NotRun(experiment, f"no cell of {experiment} has the same seeds with both {BASELINE} and {treatment}")
    lacking = [(float(scale), float(rate)) for scale, rate in wide.index.difference(complete.index)]
    whole = int(tables.runs["steps"].max())
    return Map(tables, treatment, min(whole, until or whole), complete, lacking)
