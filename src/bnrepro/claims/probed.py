"""What the claims on probes share: one number a run from all points of training, and seeds that have none."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bnrepro import stats
from bnrepro.claims.base import Pairs
from bnrepro.stats import Interval


def geometric_means(rows: pd.DataFrame, column: str) -> pd.Series:
    """Per run the geometric mean of ``column`` over all of its ``rows``: a ratio of two is the mean ratio of the
    points, whatever their size. NaN for a run in which a value is 0 or beyond what can be computed."""
    values = rows[column].astype(float)
    logs = values.where((values > 0) & np.isfinite(values)).apply(np.log)
    return logs.groupby(rows["run"]).agg(lambda each: each.mean(skipna=False)).apply(np.exp)


def means(rows: pd.DataFrame, column: str) -> pd.Series:
    """Per run the mean of ``column`` over all of its ``rows``; NaN for a run in which one is missing."""
    return rows[column].astype(float).groupby(rows["run"]).agg(lambda each: each.mean(skipna=False))


def with_values(pairs: Pairs, values: pd.Series) -> Pairs:
    """The seeds of which both runs have a value; what was left out is in the notes, and a run of the treatment that
    has none counts like one that diverged."""
    present = pairs.frame.apply(lambda arm: values.reindex(arm).notna().to_numpy())
    kept = Pairs(pairs.frame[present.all(axis=1)], list(pairs.notes), pairs.treatment_diverged)
    lost = int((~present["treatment"]).sum())
    if len(kept) < len(pairs):
        kept.notes.append(
            f"{len(pairs) - len(kept)} of {len(pairs)} seeds are left out: a value is 0, or beyond what can be computed"
        )
    return Pairs(kept.frame, kept.notes, pairs.treatment_diverged + lost)


def quarter(rows: pd.DataFrame, last: bool = False) -> pd.DataFrame:
    """The rows of the first quarter of the steps, or of the last."""
    end = rows["step"].max()
    return rows[rows["step"] >= 0.75 * end] if last else rows[rows["step"] <= 0.25 * end]


def times(interval: Interval) -> str:
    """A ratio in a sentence."""
    return f"{interval.value:.3g}×" + (f" ({interval.low:.4g}× to {interval.high:.4g}×)" if interval.n > 1 else "")


def points_below(pairs: Pairs, rows: pd.DataFrame, column: str) -> tuple[int, int]:
    """At how many points of training the treatment's values lie below the baseline's, in the geometric mean of the
    seeds, and how many points there are."""
    logs = rows.pivot(index="step", columns="run", values=column).astype(float).apply(np.log)
    gaps = (logs[pairs.treatment].to_numpy() - logs[pairs.baseline].to_numpy()).mean(axis=1)
    return int((gaps < 0).sum()), len(gaps)


def ratio(pairs: Pairs, rows: pd.DataFrame, column: str) -> Interval | None:
    """Treatment over baseline of the geometric means of ``column``; None where no seed has both."""
    found = geometric_means(rows, column)
    kept = with_values(pairs, found)
    return stats.paired_ratio(kept.treated(found), kept.without(found)) if len(kept) else None
