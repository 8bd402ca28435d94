"""The evidence of a claim over the map, and beside it: both arms tuned, smaller budgets, digits, a single cell."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from bnrepro import stats
from bnrepro.claims import sampling
from bnrepro.claims.claim import Evidence, NotRun
from bnrepro.claims.operating_points import effects
from bnrepro.claims.operating_points.effects import Compared, Effect
from bnrepro.claims.operating_points.reading import DIGITS, NAME, Map, read
from bnrepro.claims.operating_points.rules import BUDGETS
from bnrepro.stats import (
    BASELINE,
    BOTH,
    NEITHER,
    ONLY_BASELINE,
    ONLY_TREATMENT,
    Estimate,
    Interval,
    OnMap,
    Shares,
    censored,
    paired_difference,
    share_estimates,
)
from bnrepro.tables import Results

HISTORY = (
    "This rule replaces that of the first report, in which a single cell decided the verdict. The margin is unchanged; "
    "the thresholds on the shares were chosen with a pilot's map in view (other code, another device, 8 seeds, 50,000 "
    "steps). They were committed before these runs"
)
NEW = (
    "The claim is new since the first report. The thresholds on the shares are those of the other claims of the map, "
    "chosen with a pilot's map in view (other code, another device, 8 seeds, 50,000 steps). The rule was committed "
    "before these runs"
)
SINGLE = "at the plain network's best cell"
TUNED = "both tuned"


@dataclass(frozen=True)
class Question:
    """A claim that is asked of every cell in which both arms train.

    ``label`` names the effect, ``row`` the row of the axis that stands for it where a single number must. ``single``
    gives the evidence of the experiment with a single cell. ``axis`` names what the effect has several of.
    ``budgets`` says whether the effect can be read at fewer
    steps.
    """

    rule: OnMap
    effect: Effect
    label: str
    row: str
    single: Callable[[Results], Evidence] | None = None
    axis: str = ""
    budgets: bool = True

    def __call__(self, results: Results) -> Evidence:
        """The evidence below ``results``. Raises :class:`NotRun` without a map."""
        found = read(results)
        treatment = results.treatment
        values = effects.over_cells(self.effect, found, found.cells())
        shares = self.rule.shares(values.low, values.high)
        estimates = share_estimates(self.rule, shares, treatment)
        over = paired(self.rule.effect, [column.dropna().to_numpy() for _, column in values.value.items()])
        if over is not None:
            kind = "geometric mean" if self.rule.effect == "ratio" else "mean"
            estimates.append(
                Estimate(f"{self.label}, {kind} over the {self.rule.units}", treatment, over, unit=self.rule.effect)
            )
        estimates += self._by_axis(values, treatment)
        elsewhere = {"over the map": (self.rule.verdict_on(shares), estimates[0])}
        notes = [HISTORY if self.single else NEW, *class_notes(found)]
        estimates += self._tuned(found, elsewhere, notes)
        estimates += self._other_maps(results, notes)
        estimates += self._single(results, elsewhere, notes)
        return Evidence(
            estimates, notes, listed(self.rule, shares, found.seeds), shares=shares, words=disagreement(elsewhere)
        )

    def _by_axis(self, values: Compared, treatment: str) -> list[Estimate]:
        """The shares of every target, statistic or layer alone."""
        axes = list(dict.fromkeys(values.low.index.get_level_values("axis")))
        rule, found = replace(self.rule, units="cells"), []
        for axis in axes if len(axes) > 1 else []:
            low, high = (frame[frame.index.get_level_values("axis") == axis] for frame in (values.low, values.high))
            shares = rule.shares(low, high)
            [first, *_] = share_estimates(rule, shares, treatment)
            name = f"{self.axis} {axis} alone: {rule.verdict_on(shares)}"
            found.append(replace(first, name=name, primary=False))
        return found

    def _tuned(self, found: Map, elsewhere: dict[str, tuple[str, Estimate]], notes: list[str]) -> list[Estimate]:
        try:
            values = effects.tuned(self.effect, found)
        except NotRun as reason:
            notes.append(f"{TUNED}: {reason}")
            return []
        cells = ", ".join(f"{arm} at scale {scale:g}, rate {rate:g}" for arm in (BASELINE, found.treatment)
                          for scale, rate in [found.best(arm)])  # fmt: skip
        estimates = []
        for axis in values.value.index:
            interval = over_seeds(
                self.rule.effect, *(frame.loc[axis] for frame in (values.low, values.value, values.high))
            )
            if interval is None:
                continue
            of = f" ({axis})" if axis else ""
            estimate = Estimate(f"{self.label}{of}, {TUNED}", found.treatment, interval, unit=self.rule.effect)
            estimates.append(estimate)
            if axis == self.row:
                elsewhere[f"with {TUNED}"] = (self.rule.each.verdict(interval), estimate)
                if self.effect is effects.accuracy:
                    level = float(found.over(BASELINE, found.final("test", "accuracy"), found.best(BASELINE)).mean())
                    notes += [f"{TUNED}: {note}" for note in sampling.notes(found.tables, interval, level)]
        notes.append(f"{TUNED}, each arm at its best cell on validation: {cells}" + _edges(found))
        return estimates

    def _other_maps(self, results: Results, notes: list[str]) -> list[Estimate]:
        """The same shares at fewer steps of the same curves, and on the digits."""
        whole = read(results).budget
        asked = [(NAME, budget, f"at {budget:,} steps") for budget in BUDGETS if budget < whole and self.budgets]
        estimates = []
        for experiment, budget, where in [*asked, (DIGITS, None, "on the digits")]:
            try:
                found = read(results, experiment, budget)
                values = effects.over_cells(self.effect, found, found.cells())
            except NotRun as reason:
                notes.append(f"{where}: {reason.asked_of(results.treatment)}")
                continue
            shares = self.rule.shares(values.low, values.high)
            [first, *_] = share_estimates(self.rule, shares, results.treatment)
            name = f"the same {where}: {self.rule.verdict_on(shares)}"
            estimates.append(replace(first, name=name, primary=False))
        return estimates

    def _single(self, results: Results, elsewhere: dict[str, tuple[str, Estimate]], notes: list[str]) -> list[Estimate]:
        if self.single is None:
            return []
        estimates, verdict = single_cell(self.single, self.rule, results, notes, SINGLE)
        if verdict is not None:
            elsewhere[SINGLE] = verdict
        return estimates


def single_cell(
    single: Callable[[Results], Evidence], rule: OnMap, results: Results, notes: list[str], where: str
) -> tuple[list[Estimate], tuple[str, Estimate] | None]:
    """The estimates of an experiment with a single cell, and what the declared margin alone makes of its own one."""
    try:
        beside = single(results)
    except NotRun as reason:
        notes.append(f"{where}: {reason.asked_of(results.treatment)}")
        return [], None
    estimates = [replace(each, name=f"{each.name}, {where}", primary=False) for each in beside.estimates]
    notes += [f"{where}: {note}" for note in beside.notes]
    primary = beside.primary
    assert primary is not None
    verdict = rule.each.verdict(primary.interval, beside.lost)
    return estimates, (verdict, primary)


def paired(unit: str, seeds: list[np.ndarray]) -> Interval | None:
    """The mean over the seeds of each seed's mean, geometric for ratios; None if no seed has a value."""
    kept = [values for values in seeds if len(values)]
    if not kept:
        return None
    if unit == "ratio":
        means = [float(np.exp(np.log(values).mean())) for values in kept if (values > 0).all()]
        return stats.paired_ratio(means, np.ones(len(means))) if means else None
    return paired_difference([float(values.mean()) for values in kept])


def over_seeds(unit: str, low: pd.Series, value: pd.Series, high: pd.Series) -> Interval | None:
    """One effect over the seeds: interval-censored where evaluations bound it; None if it applies to no seed."""
    known = value.notna()
    if not known.any():
        return None
    if (low[known] < high[known]).any():
        return censored.over_seeds(low[known], high[known], log=unit == "ratio")
    return paired(unit, [np.array([each]) for each in value[known]])


def classes(found: Map) -> str:
    """How many cells are of each class: ``of 72 cells, in 20 both arms train in every seed, in 32 only batch, …``."""
    counts = found.classes.value_counts()
    return (
        f"of {len(found.classes)} cells, in {counts.get(BOTH, 0)} both arms train in every seed, in "
        f"{counts.get(ONLY_TREATMENT, 0)} only {found.treatment}, in {counts.get(ONLY_BASELINE, 0)} only {BASELINE}, "
        f"in {counts.get(NEITHER, 0)} neither"
    )


def class_estimate(found: Map) -> Estimate:
    """The share of the cells in which only the treatment trains, in the words of :func:`classes`: a count."""
    share = float((found.classes == ONLY_TREATMENT).mean())
    counted = Interval(share, math.nan, math.nan, len(found.seeds))
    return Estimate(
        "cells of the map, by which arm trains", found.treatment, counted, unit="share", said=classes(found)
    )


def class_notes(found: Map) -> list[str]:
    """How many cells are of each class, and which lack runs."""
    text = classes(found)
    lacking = [f"{len(found.incomplete)} cells lack a run and are left out"] if found.incomplete else []
    return [text[:1].upper() + text[1:], *lacking]


def on_edge(found: Map, arm: str) -> bool:
    """Whether the best cell of an arm lies on the edge of the grid, so that beyond it there may be a better one."""
    scale, rate = found.best(arm)
    return scale in (found.scales[0], found.scales[-1]) or rate in (found.rates[0], found.rates[-1])


def _edges(found: Map) -> str:
    """The arms whose best cell lies on the edge of the grid."""
    named = [arm for arm in (BASELINE, found.treatment) if on_edge(found, arm)]
    return f"; on the edge of the grid: {', '.join(named)}" if named else ""


def disagreement(elsewhere: dict[str, tuple[str, Estimate]]) -> str:
    """A sentence on where the same margin gives another answer; empty if all agree.

    The first place is that of the primary estimate, whose numbers stand beside the verdict: they are not repeated.
    """
    if len({verdict for verdict, _ in elsewhere.values()}) < 2:
        return ""
    (first, (verdict, _)), *others = elsewhere.items()
    parts = [f"{each} {where}, {stats.words(estimate)}" for where, (each, estimate) in others]
    return f"The answer is not the same everywhere: {'; '.join([f'{verdict} {first}', *parts])}."


def listed(rule: OnMap, found: Shares, seeds: list[int]) -> pd.DataFrame:
    """Every seed's shares and number of units."""
    of = np.array(found.beyond.of)
    named = {"beyond the margin": found.beyond, "claimed side": found.claimed, "other side": found.other}
    with np.errstate(invalid="ignore"):
        shares = {name: np.array(share.hits) / of for name, share in named.items()}
    return pd.DataFrame(shares | {rule.units: of}, index=pd.Index(seeds, name="seed"))
