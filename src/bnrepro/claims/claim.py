"""What a claim is, what its tables yield, and how the one becomes a verdict on the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd
from matplotlib.figure import Figure

from bnrepro.stats import BASELINE, NOT_RUN, Estimate, Pairs, Rule, pair_by_seed
from bnrepro.tables import Results, Tables


@dataclass(frozen=True)
class Evidence:
    """What the tables say of a claim, without a verdict.

    ``estimates``, of which one is primary; ``notes``, what has to be said of them; ``seeds``, every seed's numbers.
    ``lost`` counts runs of the treatment that diverged or never reached the target, and ``condition`` is what the rule
    asks besides its number (see :class:`~bnrepro.stats.Rule`).
    """

    estimates: list[Estimate] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seeds: pd.DataFrame | None = None
    lost: int = 0
    condition: bool | None = True

    @property
    def primary(self) -> Estimate | None:
        return next((estimate for estimate in self.estimates if estimate.primary), None)


class NotRun(Exception):
    """There is nothing to judge; the message says why, and how to get it."""

    def __init__(self, experiment: str, reason: str = "") -> None:
        why = reason or f"no table of {experiment}"
        super().__init__(f"{why}: python scripts/reproduce.py --experiments {experiment}")


class Inapplicable(NotRun):
    """The tables are there, and the claim cannot be asked of them; the message says why."""

    def __init__(self, reason: str) -> None:
        Exception.__init__(self, reason)


@dataclass(frozen=True)
class Judgement:
    """A verdict with the evidence behind it."""

    verdict: str
    evidence: Evidence

    @property
    def estimates(self) -> list[Estimate]:
        return self.evidence.estimates

    @property
    def notes(self) -> list[str]:
        return self.evidence.notes

    @property
    def seeds(self) -> pd.DataFrame | None:
        return self.evidence.seeds

    @property
    def primary(self) -> Estimate | None:
        return self.evidence.primary


@dataclass(frozen=True)
class Claim:
    """One sentence that an experiment could refute. Declared in the experiment's file, before its full runs.

    ``group`` is A (training), B (exact properties), C (limits and costs) or D (why it works); ``origin`` says whose
    claim it is, ``source`` where it stands; ``unit`` is that of the primary estimate; ``figure`` is the name of the
    figure that shows it. ``deviation`` says what differs from the paper, and ``deviates`` whether anything does.
    """

    slug: str
    group: Literal["A", "B", "C", "D"]
    origin: Literal["paper", "readers"]
    sentence: str
    source: str
    experiment: str
    metric: str
    unit: str
    rule: Rule
    paper: str
    deviation: str
    figure: str
    numbers: Callable[[Results], Evidence]
    deviates: bool = True

    def judge(self, results: Results) -> Judgement:
        """The verdict of the rule on what the tables of ``results`` say."""
        try:
            evidence = self.numbers(results)
        except NotRun as reason:
            return Judgement(NOT_RUN, Evidence(notes=[str(reason)]))
        primary = evidence.primary
        assert primary is not None, self.slug
        assert primary.unit == self.unit, self.slug
        return Judgement(self.rule.verdict(primary.interval, evidence.lost, evidence.condition), evidence)


@dataclass(frozen=True)
class Experiment:
    """All claims that an experiment's runs can judge, and the figures drawn from its tables.

    ``place`` orders the report and the figures; gaps are left between the numbers for what comes later.
    """

    name: str
    place: int
    claims: tuple[Claim, ...] = ()
    figures: Callable[[Results], dict[str, Figure]] = lambda results: {}
    section: Callable[[Results], str] | None = None
    """A section of the report besides the claims' own, if the tables exist."""
    any_normaliser: bool = True
    """Whether another normaliser can be asked the same: not where the claims are about Batch Normalization itself."""


# ------------------------------------------------------------------------------------------- what a claim reads


def tables_of(results: Results, experiment: str, probe: str | None = None) -> Tables:
    """An experiment's tables, with those of ``probe``. Raises :class:`NotRun` where they are missing."""
    tables = results.tables(experiment)
    if tables is None:
        raise NotRun(experiment)
    if probe is not None and probe not in tables.probes:
        raise NotRun(experiment, f"its runs recorded no {probe}")
    return tables


def paired_runs(
    results: Results, experiment: str, probe: str | None = None, arms: tuple[str, str] | None = None
) -> tuple[Tables, Pairs]:
    """An experiment's tables, and the seeds that both arms finished.

    ``arms`` are (baseline, treatment) where they are not none and the treatment of ``results``. Raises :class:`NotRun`.
    """
    tables = tables_of(results, experiment, probe)
    baseline, treatment = arms or (BASELINE, results.treatment)
    pairs = pair_by_seed(tables.runs, treatment, baseline=baseline)
    if not len(pairs):
        raise NotRun(experiment, f"no seed finished with both {baseline} and {treatment}")
    return tables, pairs


def measured_frame(results: Results, name: str) -> pd.DataFrame:
    """A measurement's table. Raises :class:`NotRun` where it is missing."""
    found = results.measured(name)
    if found is None:
        raise NotRun(name)
    return found.frame
