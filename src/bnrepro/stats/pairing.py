"""Pairs of runs with the same seed, and one number per run from many points of training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bnrepro.stats.intervals import Estimate, Interval, paired_difference, paired_ratio

BASELINE = "none"


@dataclass(frozen=True)
class Pairs:
    """Pairs of runs with the same seed: ``frame`` (seeds × 2) holds the run names of ``baseline`` and ``treatment``.

    The methods take one value per run, as a series indexed by run name.
    """

    frame: pd.DataFrame
    notes: list[str]
    treatment_diverged: int

    @property
    def baseline(self) -> list[str]:
        return list(self.frame["baseline"])

    @property
    def treatment(self) -> list[str]:
        return list(self.frame["treatment"])

    def __len__(self) -> int:
        return len(self.frame)

    def without(self, values: pd.Series) -> np.ndarray:
        """The baseline's values (seeds,)."""
        return values.loc[self.baseline].to_numpy(dtype=float)

    def treated(self, values: pd.Series) -> np.ndarray:
        """The treatment's values (seeds,)."""
        return values.loc[self.treatment].to_numpy(dtype=float)

    def difference(self, values: pd.Series) -> Interval:
        """Treatment minus baseline."""
        return paired_difference(self.treated(values) - self.without(values))

    def ratio(self, values: pd.Series) -> Interval:
        """Treatment over baseline."""
        return paired_ratio(self.treated(values), self.without(values))

    def each(self, name: str, values: pd.Series, treatment: str, unit: str, baseline: str = BASELINE) -> list[Estimate]:
        """The means of both arms, to print beside their difference or ratio."""
        return [
            Estimate(name, arm, paired_difference(found), unit=unit)
            for arm, found in ((baseline, self.without(values)), (treatment, self.treated(values)))
        ]

    def listed(self, values: pd.Series, comparison: str) -> pd.DataFrame:
        """The values of every seed, and their ``ratio`` or ``difference``."""
        without, treated = self.without(values), self.treated(values)
        compared = treated / without if comparison == "ratio" else treated - without
        return pd.DataFrame({"without": without, "with": treated, comparison: compared}, index=self.frame.index)


def pair_by_seed(
    runs: pd.DataFrame, treatment: str, treatment_runs: pd.DataFrame | None = None, baseline: str = BASELINE
) -> Pairs:
    """The seeds that both arms finished; ``notes`` says how many runs are left out, and why.

    ``treatment_runs`` is the ``runs`` table of the treatment, if that is in another experiment.
    """
    other = runs if treatment_runs is None else treatment_runs
    columns, notes, diverged = {}, [], 0
    for label, source, arm in (("baseline", runs, baseline), ("treatment", other, treatment)):
        chosen = source[source["arm"] == arm]
        finished = chosen[chosen["status"] == "finished"]
        lost = len(chosen) - len(finished)
        if lost:
            notes.append(f"{lost} of {len(chosen)} runs of the arm {arm} diverged and have no final value")
        if label == "treatment":
            diverged = lost
        columns[label] = finished.set_index("seed")["run"]
    frame = pd.DataFrame(columns).dropna().sort_index()
    return Pairs(frame, notes, diverged)


def geometric_means(rows: pd.DataFrame, column: str) -> pd.Series:
    """Per run, the geometric mean of ``column`` over all of its ``rows``; NaN if a value is not positive and finite.

    A ratio of two such means is the mean ratio of the points, whatever their size.
    """
    values = rows[column].astype(float)
    logs = values.where((values > 0) & np.isfinite(values)).apply(np.log)
    return logs.groupby(rows["run"]).agg(lambda each: each.mean(skipna=False)).apply(np.exp)


def means(rows: pd.DataFrame, column: str) -> pd.Series:
    """Per run, the mean of ``column`` over all of its ``rows``; NaN for a run with a missing value."""
    return rows[column].astype(float).groupby(rows["run"]).agg(lambda each: each.mean(skipna=False))


def with_values(pairs: Pairs, values: pd.Series) -> Pairs:
    """The seeds for which both runs have a value; the notes say how many are left out.

    A run of the treatment without a value counts as diverged.
    """
    present = pairs.frame.apply(lambda arm: values.reindex(arm).notna().to_numpy())
    kept = Pairs(pairs.frame[present.all(axis=1)], list(pairs.notes), pairs.treatment_diverged)
    lost = int((~present["treatment"]).sum())
    if len(kept) < len(pairs):
        kept.notes.append(f"{len(pairs) - len(kept)} of {len(pairs)} seeds are left out: a value is 0 or not finite")
    return Pairs(kept.frame, kept.notes, pairs.treatment_diverged + lost)


def quarter(rows: pd.DataFrame, last: bool = False) -> pd.DataFrame:
    """The rows of the first quarter of the steps, or of the last."""
    end = rows["step"].max()
    return rows[rows["step"] >= 0.75 * end] if last else rows[rows["step"] <= 0.25 * end]


def points_below(pairs: Pairs, rows: pd.DataFrame, column: str) -> tuple[int, int]:
    """At how many points of training the treatment is below the baseline, of how many.

    Both are geometric means over the seeds.
    """
    logs = rows.pivot(index="step", columns="run", values=column).astype(float).apply(np.log)
    gaps = (logs[pairs.treatment].to_numpy() - logs[pairs.baseline].to_numpy()).mean(axis=1)
    return int((gaps < 0).sum()), len(gaps)


def ratio(pairs: Pairs, rows: pd.DataFrame, column: str) -> Interval | None:
    """Treatment over baseline of the geometric means of ``column``; None if no seed has both."""
    found = geometric_means(rows, column)
    kept = with_values(pairs, found)
    return paired_ratio(kept.treated(found), kept.without(found)) if len(kept) else None
