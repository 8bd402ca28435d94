"""What one cell of the map says over its seeds, alike in the picture, in the report's table and on the page."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bnrepro.claims.operating_points import effects
from bnrepro.claims.operating_points.effects import Compared
from bnrepro.claims.operating_points.evidence import over_seeds
from bnrepro.claims.operating_points.reading import Cell, Map
from bnrepro.stats import Interval, paired_difference


def row(frame: pd.DataFrame, place: tuple) -> pd.Series:
    """The values of all seeds in one row of the index."""
    return pd.Series(frame.to_numpy(dtype=float)[frame.index.get_loc(place)], index=frame.columns)


def mean(values: pd.Series) -> Interval | None:
    """Over the seeds that have a value."""
    known = values[np.isfinite(values)]
    return paired_difference(known) if len(known) else None


def speed(steps: Compared, cell: Cell) -> Interval | None:
    """The ratio of steps to the plain network's final accuracy, bounded by the evaluations and by the seeds.

    ``steps`` is :func:`effects.steps_to_accuracy` over cells that ``cell`` is one of.
    """
    place = (*cell, effects.WHOLE)
    return over_seeds("ratio", *(row(frame, place) for frame in (steps.low, steps.value, steps.high)))


def speeds(found: Map) -> pd.DataFrame:
    """The value of :func:`speed` as scales × rates, NaN where not both arms train."""
    steps = effects.over_cells(effects.steps_to_accuracy, found, found.cells())
    shown = pd.DataFrame(np.nan, index=found.scales, columns=found.rates)
    for scale, rate in found.cells():
        ratio = speed(steps, (scale, rate))
        shown.loc[scale, rate] = np.nan if ratio is None else ratio.value
    return shown
