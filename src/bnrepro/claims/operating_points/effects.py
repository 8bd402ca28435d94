"""What a claim compares, for any pairs of runs: one number per pair, or one per target, statistic or layer.

Each function takes a map and the names of runs without and with the treatment, pair by pair, and compares them:
treatment over baseline, or minus it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bnrepro import stats
from bnrepro.claims.claim import NotRun
from bnrepro.claims.operating_points.reading import Map
from bnrepro.claims.operating_points.rules import LOSSES, PARTS, STATISTICS

Names = list[str]
WHOLE = ""
"""The one row of an effect without an axis."""


@dataclass(frozen=True)
class Compared:
    """An effect as frames of its axis (rows) × pairs (columns), NaN where the comparison does not apply.

    What evaluations bound lies between ``low`` and ``high``; ``value`` is the number to print. Else all are the same.
    """

    low: pd.DataFrame
    value: pd.DataFrame
    high: pd.DataFrame

    def reshaped(self, to: Callable[[pd.DataFrame], pd.DataFrame]) -> Compared:
        """The same with another shape of the frames."""
        return Compared(to(self.low), to(self.value), to(self.high))


Effect = Callable[[Map, Names, Names], Compared]


def steps_to_accuracy(found: Map, plain: Names, treated: Names) -> Compared:
    """Ratio of steps to the final test accuracy of the run without."""
    goals = found.final("test", "accuracy").reindex(plain).to_numpy()
    return _stacked({WHOLE: _ratio_of_steps(found, found.curve("test", "accuracy"), plain, treated, goals)})


def steps_to_loss(found: Map, plain: Names, treated: Names) -> Compared:
    """Ratio of steps to each target of the training loss."""
    falling = -found.curve("train", "loss")
    return _stacked({
        f"{target:g}": _ratio_of_steps(found, falling, plain, treated, np.full(len(plain), -target))
        for target in LOSSES
    })  # fmt: skip


def _stacked(rows: dict[str, np.ndarray]) -> Compared:
    """From arrays (low, value, high) × pairs by axis."""
    low, value, high = (pd.DataFrame([row[end] for row in rows.values()], index=list(rows)) for end in range(3))
    return Compared(low, value, high)


def _ratio_of_steps(found: Map, curves: pd.DataFrame, plain: Names, treated: Names, goals: np.ndarray) -> np.ndarray:
    """Bounds and value of the ratio of steps to ``goals`` (pairs,), as (low, value, high) × pairs.

    A run reaches its goal after the evaluation before the first at or above it, and by that one; if at none, after the
    budget. The value takes the first evaluation, or the budget. Where neither reaches it, all are NaN.
    """
    at = curves.index.to_numpy(dtype=float)
    ends = []
    for names in (plain, treated):
        values = curves.reindex(columns=names).to_numpy(dtype=float)
        with np.errstate(invalid="ignore"):
            reached = values >= goals
        first, ever = reached.argmax(axis=0), reached.any(axis=0)
        by = np.where(ever, np.maximum(at[first], 1.0), np.inf)
        after = np.where(ever, np.where(first > 0, at[np.maximum(first - 1, 0)], 0.0), found.budget)
        ends.append((after, np.where(ever, by, found.budget), by))
    (plain_after, plain_value, plain_by), (after, value, by) = ends
    with np.errstate(divide="ignore", invalid="ignore"):
        low = np.where(np.isinf(plain_by), 0.0, after / plain_by)
        high = np.where(np.isinf(by) | (plain_after == 0), np.inf, by / plain_after)
    applies = ~(np.isinf(plain_by) & np.isinf(by)) & ~np.isnan(goals)
    return np.where(applies, np.array([low, value / plain_value, high]), np.nan)


def accuracy(found: Map, plain: Names, treated: Names) -> Compared:
    """Difference of final test accuracy."""
    return _row(found.final("test", "accuracy"), plain, treated, np.subtract)


def _row(values: pd.Series, plain: Names, treated: Names, compared: Callable) -> Compared:
    return _rows(values.to_frame(WHOLE), plain, treated, compared)


def _rows(values: pd.DataFrame, plain: Names, treated: Names, compared: Callable) -> Compared:
    """``values``: runs × axis."""
    one, other = (values.reindex(names).to_numpy(dtype=float).T for names in (treated, plain))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = compared(one, other)
    frame = pd.DataFrame(found, index=[str(axis) for axis in values])
    # An infinite ratio lies on a side, but has no place in a mean.
    shown = frame.where(np.isfinite(frame) & ((frame > 0) | (compared is not np.divide)))
    return Compared(frame, shown, frame)


def probe(found: Map, name: str) -> pd.DataFrame:
    """A probe's table. Raises :class:`NotRun` where the runs did not record it."""
    if name not in found.tables.probes:
        raise NotRun(found.tables.experiment, f"its runs recorded no {name}")
    return found.tables.probes[name]


def part_label(statistic: str, part: float) -> str:
    """``median of the units, first 10%``."""
    return f"{statistic} of the units, " + ("all of training" if part == 1 else f"first {part:.0%}")


def drift(found: Map, plain: Names, treated: Names) -> Compared:
    """Ratio of drift, for every statistic over the units and every part of training."""
    seen = probe(found, "drift")
    wide = seen.pivot(index="run", columns=["statistic", "part"], values="drift").astype(float)
    kept = [(statistic, part) for statistic in STATISTICS for part in PARTS if (statistic, part) in wide.columns]
    wide = wide[kept].set_axis([part_label(statistic, part) for statistic, part in kept], axis=1)
    return _rows(wide, plain, treated, np.divide)


def saturation(found: Map, plain: Names, treated: Names) -> Compared:
    """Difference of the saturated share of every hidden layer at the end of the budget."""
    seen = probe(found, "saturation")
    last = seen[seen["step"] <= found.budget].sort_values("step").groupby(["run", "layer"])["saturated"].last()
    wide = last.unstack().astype(float)
    return _rows(
        wide.set_axis([f"hidden layer {int(str(layer)) + 1}" for layer in wide], axis=1), plain, treated, np.subtract
    )


def late_growth(found: Map, plain: Names, treated: Names) -> Compared:
    """Ratio of the relative change of the weights' norm in the second half, the mean of the hidden layers."""
    return _row(growth(found), plain, treated, np.divide)


def growth(found: Map) -> pd.Series:
    """Per run, \\|ln(norm at the end ÷ norm at half of the steps)\\|, the mean of the hidden layers."""
    seen = probe(found, "norms")
    seen = seen[(seen["step"] <= found.budget) & (seen["layer"] < seen["layer"].max())]
    half = seen[seen["step"] <= found.budget / 2]
    ends, middles = (
        rows.sort_values("step").groupby(["run", "layer"])["weight"].last().astype(float) for rows in (seen, half)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(ends / middles).abs()
    return logs.groupby("run").mean()


def over_cells(effect: Effect, found: Map, cells: pd.Index) -> Compared:
    """An effect in all ``cells``, as (cell, axis) × seeds."""
    names = [found.names[arm].loc[cells] for arm in (stats.BASELINE, found.treatment)]
    plain, treated = ([str(name) for name in frame.to_numpy().ravel()] for frame in names)

    def by_cell(values: pd.DataFrame) -> pd.DataFrame:
        units = [(scale, rate, axis) for axis in values.index for scale, rate in cells]
        index = pd.MultiIndex.from_tuples(units, names=[*names[0].index.names, "axis"])
        flat = values.to_numpy(dtype=float).reshape(len(units), len(found.seeds))
        return pd.DataFrame(flat, index=index, columns=found.seeds)

    return effect(found, plain, treated).reshaped(by_cell)


def tuned(effect: Effect, found: Map) -> Compared:
    """An effect with each arm at its own best cell on validation, as axis × seeds."""
    plain, treated = (
        [str(name) for name in found.names[arm].loc[found.best(arm)]] for arm in (stats.BASELINE, found.treatment)
    )
    return effect(found, plain, treated).reshaped(lambda values: values.set_axis(found.seeds, axis=1))


DIFFERENCES: tuple[Effect, ...] = (accuracy, saturation)
"""The effects that are differences; the others are ratios."""
