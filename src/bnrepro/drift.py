"""How far a distribution moves over training, from percentiles at points of it (Fig. 1b, c).

It stands beside the rooms because both sides of the wall compute it: a probe while it trains, a claim from the table of
another.
"""

from __future__ import annotations

import numpy as np

LATE = 0.01
"""The share of the steps before which nothing counts: the first updates carry every network away from its start."""


def drift(percentiles: np.ndarray, steps: np.ndarray, until: float = 1.0) -> np.ndarray | None:
    """Drift (units,) in widths (p85 − p15) of each unit's final distribution, from ``percentiles`` (points, units, 3).

    The drift is the distance of the percentiles from their final values, averaged over the percentiles and over time
    after the first 1% of the ``steps`` (points,). ``until`` < 1 takes that first share of the training as the whole.
    None if fewer than two points are left. A unit that moved, and whose final distribution has no width, has an
    infinite drift; one that never moved has none, whatever its width.
    """
    part = steps <= until * steps[-1]
    percentiles, steps = percentiles[part], steps[part]
    end, late = percentiles[-1], steps >= LATE * steps[-1]
    if late.sum() < 2:
        return None
    moved = time_weighted_mean(np.abs(percentiles[late] - end).mean(axis=2), steps[late])
    width = end[:, -1] - end[:, 0]
    return np.divide(moved, width, out=np.where(moved > 0, np.inf, 0.0), where=width > 0)


def time_weighted_mean(values: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Mean over training of ``values`` (steps, …) at ``steps`` (steps,), by the trapezoidal rule."""
    return np.trapezoid(values, steps, axis=0) / (steps[-1] - steps[0])
