"""What a claim is, what judging it yields, and how it gets at the tables."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bnrepro import stats
from bnrepro.stats import NOT_RUN, Estimate, Interval
from bnrepro.tables import Results, Tables

BASELINE = "none"


@dataclass(frozen=True)
class Judgement:
    """A verdict with the estimates behind it, what has to be said about them, and every seed's numbers."""

    verdict: str
    estimates: list[Estimate] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seeds: pd.DataFrame | None = None

    @property
    def primary(self) -> Estimate | None:
        return next((estimate for estimate in self.estimates if estimate.primary), None)


@dataclass(frozen=True)
class Claim:
    """One sentence that an experiment could refute. Declared here, before its full runs, and not retuned after.

    ``rule`` says when it counts as supported, in words; ``margin`` is the number in it (None: only measured).
    """

    slug: str
    group: str
    sentence: str
    source: str
    experiment: str
    metric: str
    rule: str
    margin: float | None
    paper: str
    deviation: str
    figure: str
    judge: Callable[[Results], Judgement]


@dataclass(frozen=True)
class Experiment:
    """All claims that an experiment's runs can judge, and the figures drawn from its tables."""

    name: str
    claims: tuple[Claim, ...]
    figures: Callable[[Results], dict[str, Figure]]
    section: Callable[[Results], str] | None = None
    """A section of the report besides the claims' own, if the tables exist."""
    exam: bool = True
    """Whether another normaliser can be asked the same: not where the claims are about Batch Normalization itself."""


def not_run(experiment: str, reason: str = "") -> Judgement:
    """The judgement where there is no data, with how to get it."""
    why = reason or f"no table of {experiment}"
    return Judgement(NOT_RUN, notes=[f"{why}: python scripts/reproduce.py --experiments {experiment}"])


@dataclass(frozen=True)
class Pairs:
    """Runs of one seed side by side: ``frame`` has a row a seed and the run names of baseline and treatment.

    Its methods take one value a run (a series indexed by run name).
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
        return stats.paired_difference(self.treated(values) - self.without(values))

    def ratio(self, values: pd.Series) -> Interval:
        """Treatment over baseline."""
        return stats.paired_ratio(self.treated(values), self.without(values))

    def each(self, name: str, values: pd.Series, treatment: str, unit: str, baseline: str = BASELINE) -> list[Estimate]:
        """The means of both arms, to be printed beside their difference or ratio."""
        return [
            Estimate(name, arm, stats.paired_difference(found), unit=unit)
            for arm, found in ((baseline, self.without(values)), (treatment, self.treated(values)))
        ]

    def listed(self, values: pd.Series, comparison: str) -> pd.DataFrame:
        """Every seed's values and their ``ratio`` or ``difference``."""
        without, treated = self.without(values), self.treated(values)
        compared = treated / without if comparison == "ratio" else treated - without
        return pd.DataFrame({"without": without, "with": treated, comparison: compared}, index=self.frame.index)


def pair_by_seed(
    runs: pd.DataFrame, treatment: str, treatment_runs: pd.DataFrame | None = None, baseline: str = BASELINE
) -> Pairs:
    """Seeds that both arms finished. What had to be left out, and why, is in ``notes``.

    ``treatment_runs`` is the ``runs`` table that holds the treatment's runs, if it is another experiment's.
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


PairedJudge = Callable[[Results, Tables, Pairs], Judgement]


def paired(
    experiment: str, probe: str | None = None, arms: tuple[str, str] | None = None
) -> Callable[[PairedJudge], Callable[[Results], Judgement]]:
    """For a claim that compares two arms seed by seed: fetches the tables (and a probe's), pairs the seeds, and
    answers "not run" with the reason where there is nothing to compare.

    ``arms`` are (baseline, treatment) where they are not none and the treatment under exam.
    """

    def decorate(judge: PairedJudge) -> Callable[[Results], Judgement]:
        @functools.wraps(judge)
        def judged(results: Results) -> Judgement:
            tables = results.tables(experiment)
            if tables is None:
                return not_run(experiment)
            if probe is not None and probe not in tables.probes:
                return not_run(experiment, f"its runs recorded no {probe}")
            baseline, treatment = arms or (BASELINE, results.treatment)
            pairs = pair_by_seed(tables.runs, treatment, baseline=baseline)
            if not len(pairs):
                return not_run(experiment, f"no seed finished with both {baseline} and {treatment}")
            return judge(results, tables, pairs)

        return judged

    return decorate


MeasuredJudge = Callable[[pd.DataFrame], Judgement]


def measured(name: str) -> Callable[[MeasuredJudge], Callable[[Results], Judgement]]:
    """For a claim that one measurement's table decides: fetches it, and answers "not run" where it is missing."""

    def decorate(judge: MeasuredJudge) -> Callable[[Results], Judgement]:
        @functools.wraps(judge)
        def judged(results: Results) -> Judgement:
            found = results.measured(name)
            if found is None:
                return Judgement(
                    NOT_RUN, notes=[f"no table of {name}: python scripts/reproduce.py --experiments {name}"]
                )
            return judge(found.frame)

        return judged

    return decorate


def exact(value: float) -> Interval:
    """A number without an interval: measured exactly, once."""
    return Interval(value, value, value, 1)


def exact_verdict(error: float, tolerance: float) -> str:
    """Exact claims: supported if and only if the error is at most the stated tolerance."""
    return stats.SUPPORTED if error <= tolerance else stats.CONTRADICTED


def unless_lost(verdict: str, lost: int) -> str:
    """The verdict, but never "supported" where runs of the treatment diverged or never reached the target."""
    return stats.INCONCLUSIVE if lost and verdict == stats.SUPPORTED else verdict
