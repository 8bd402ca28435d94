"""Curves over training: final values, steps to a target."""

from __future__ import annotations

import math

import pandas as pd

FINAL_EVALUATIONS = 5


def curve(metrics: pd.DataFrame, split: str, metric: str) -> pd.DataFrame:
    """One metric as a frame of steps × runs; NaN where a run was not evaluated, or had diverged."""
    chosen = metrics[(metrics["split"] == split) & (metrics["metric"] == metric)]
    return chosen.pivot(index="step", columns="run", values="value")


def final(curves: pd.DataFrame) -> pd.Series:
    """Per run, the mean of its last :data:`FINAL_EVALUATIONS` evaluations."""
    return pd.Series({run: curves[run].dropna().tail(FINAL_EVALUATIONS).mean() for run in curves}, dtype=float)


def steps_to(curves: pd.DataFrame, target: float | pd.Series, *, falling: bool = False) -> pd.Series:
    """Per run, the step of its first evaluation at or above ``target`` (at or below, if ``falling``); NaN if never.

    ``target`` is one number, or one per run. Step 0 counts as step 1, so that ratios exist.
    """
    found = {}
    for run in curves.columns:
        column = curves[run].dropna()
        goal = target[run] if isinstance(target, pd.Series) else target
        reached = column.index[(column <= goal) if falling else (column >= goal)]
        found[run] = max(float(reached[0]), 1.0) if len(reached) else math.nan
    return pd.Series(found, dtype=float)
