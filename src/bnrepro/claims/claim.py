"""What a claim is, what its tables say of it, and how its rule turns that into a verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import pandas as pd
from matplotlib.figure import Figure

from bnrepro.claims import style
from bnrepro.claims.naming import BATCH, about, asked_of
from bnrepro.stats import BASELINE, NOT_RUN, Estimate, Pairs, Rule, Shares, pair_by_seed
from bnrepro.tables import Measured, Results, Tables


@dataclass(frozen=True)
class Evidence:
    """What the tables say of a claim, without a verdict.

    Exactly one of the ``estimates`` is primary: the rule decides on it. ``notes`` are remarks for the report, and
    ``seeds`` lists the numbers of every seed. ``lost`` counts runs of the treatment that diverged or never reached the
    target; ``condition`` is what the rule asks besides its number (see :class:`~bnrepro.stats.Rule`). ``shares`` are
    what a rule over a map decides on, instead of the primary estimate alone. ``words`` say in which other places the
    answer is another one.
    """

    estimates: list[Estimate] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seeds: pd.DataFrame | None = None
    lost: int = 0
    condition: bool | None = True
    shares: Shares | None = None
    words: str = ""

    @property
    def primary(self) -> Estimate | None:
        return next((estimate for estimate in self.estimates if estimate.primary), None)


class NotRun(Exception):
    """There is nothing to judge. The message gives the reason and the command that makes what is missing."""

    def __init__(self, experiment: str, reason: str = "") -> None:
        self.experiment, self.why = experiment, reason or f"no table of {experiment}"
        super().__init__(f"{self.why}: python scripts/reproduce.py --experiments {experiment}")

    def asked_of(self, treatment: str) -> str:
        """The message, whose command makes what is missing of ``treatment``."""
        return str(self) if treatment == BATCH else f"{self} --treatment {treatment}"


class Inapplicable(NotRun):
    """The tables exist but cannot answer the claim. The message gives the reason."""

    def __init__(self, reason: str) -> None:
        Exception.__init__(self, reason)

    def asked_of(self, treatment: str) -> str:
        return str(self)


@dataclass(frozen=True)
class Judgement:
    """A verdict with the evidence behind it. ``counts`` names what n of the primary estimate counts, in the plural."""

    verdict: str
    evidence: Evidence
    counts: str = "seeds"

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

    ``group`` is A (training), B (exact properties), C (limits and costs) or D (why it works). ``origin`` says whose
    claim it is and ``source`` where it stands. A user's own claims have the group and the origin "own". ``metric``
    describes the primary estimate, ``unit`` is its unit, ``network`` what it is measured on, ``counts`` what its n
    counts, empty where n says nothing. ``figure`` names the figure that shows it. ``paper`` is what the paper reports.
    ``deviation`` says what differs from the paper, and ``deviates`` whether anything does.
    """

    slug: str
    group: Literal["A", "B", "C", "D", "own"]
    origin: Literal["paper", "readers", "own"]
    sentence: str
    source: str
    metric: str
    unit: str
    rule: Rule
    paper: str
    deviation: str
    figure: str
    numbers: Callable[[Results], Evidence]
    deviates: bool = True
    network: str = ""
    counts: str = "seeds"

    def asked_of(self, treatment: str) -> Claim:
        """The claim about ``treatment``. What it says of the paper, and of how it departs from it, stays as it is."""
        return replace(self, sentence=about(treatment, self.sentence), metric=about(treatment, self.metric))

    def judge(self, results: Results) -> Judgement:
        """The rule's verdict on the tables of ``results``."""
        try:
            evidence = self.numbers(results)
        except NotRun as reason:
            return Judgement(NOT_RUN, Evidence(notes=[reason.asked_of(results.treatment)]))
        evidence = replace(
            evidence,
            estimates=[replace(each, name=about(results.treatment, each.name)) for each in evidence.estimates],
        )
        primary = evidence.primary
        assert primary is not None, self.slug
        assert primary.unit == self.unit, self.slug
        found = evidence.shares or primary.interval
        counts = "" if self.rule.exact else self.counts
        return Judgement(self.rule.verdict(found, evidence.lost, evidence.condition), evidence, counts)


LAST = 1_000
"""The place after all experiments of this package."""


def no_figures(results: Results) -> dict[str, Figure]:
    return {}


@dataclass(frozen=True)
class Experiment:
    """The claims that an experiment's runs can judge, the figures drawn from its tables, its section of the report.

    ``place`` orders the report and the figures; the gaps between the numbers leave room. ``section`` writes a section
    besides those of the claims. ``any_normaliser`` is False where the claims are about Batch Normalization itself, so
    that no other normaliser can be asked the same. ``arms`` are those of the experiment besides none and the treatment;
    ``draws_all`` says that its figures show whatever arms its tables have, and ``own`` that it is a user's own, which
    this package does not declare: without ``draw`` and ``section`` it has its curves and a table of final values.
    ``compared_only`` marks what only the comparison of normalisers asks.
    """

    name: str
    place: int = LAST
    claims: tuple[Claim, ...] = ()
    draw: Callable[[Results], dict[str, Figure]] = no_figures
    section: Callable[[Results], str] | None = None
    any_normaliser: bool = True
    arms: tuple[str, ...] = ()
    draws_all: bool = False
    own: bool = False
    compared_only: bool = False

    def figures(self, results: Results) -> dict[str, Figure]:
        """The experiment's figures by file name; none where its tables are missing."""
        try:
            with asked_of(results.treatment):
                return {name: style.completed(figure) for name, figure in self.draw(results).items()}
        except NotRun:
            return {}


# --------------------------------------------------------------------- what numbers, figures and sections read


def tables_of(results: Results, experiment: str, probe: str | None = None) -> Tables:
    """An experiment's tables. Raises :class:`NotRun` where they, or those of ``probe``, are missing."""
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

    ``arms`` are (baseline, treatment), by default none and the treatment of ``results``. Raises :class:`NotRun`.
    """
    tables = tables_of(results, experiment, probe)
    baseline, treatment = arms or (BASELINE, results.treatment)
    pairs = pair_by_seed(tables.runs, treatment, baseline=baseline)
    if not len(pairs):
        raise NotRun(experiment, f"no seed finished with both {baseline} and {treatment}")
    return tables, pairs


def measurement_of(results: Results, name: str) -> Measured:
    """A measurement's table, and how it was made. Raises :class:`NotRun` where it is missing."""
    found = results.measured(name)
    if found is None:
        raise NotRun(name)
    return found
