"""Claims about the ranges that train: the largest rate at every scale, the scales at every rate.

Both are read off the grid, so that each is known to lie between two of its points; see :mod:`bnrepro.stats.censored`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from bnrepro.claims import init_scale, learning_rate
from bnrepro.claims.claim import Evidence, NotRun
from bnrepro.claims.operating_points import rules
from bnrepro.claims.operating_points.evidence import (
    HISTORY,
    SINGLE,
    TUNED,
    class_estimate,
    class_notes,
    disagreement,
    single_cell,
)
from bnrepro.claims.operating_points.reading import DIGITS, LIMIT, NAME, Map, read
from bnrepro.claims.operating_points.rules import RELU, SIGMOID
from bnrepro.stats import BASELINE, Estimate, OnMap, censored, share_estimates
from bnrepro.stats.censored import Bounds
from bnrepro.stats.selection import RATE, SCALE
from bnrepro.tables import Results

Ranges = dict[str, dict[float, list[Bounds | None]]]
"""By arm and place (a scale, or a rate), the bounds of every seed; None where the arm trains nowhere there."""


def limits(found: Map) -> Ranges:
    """The largest rate that trains, at every scale."""
    return _ranges(found, SCALE, censored.largest_passing, found.rates)


def spans(found: Map) -> Ranges:
    """The decades of initial scale that train, at every rate."""
    return _ranges(found, RATE, censored.span_bounds, censored.decades(found.scales))


def _ranges(
    found: Map, by: str, bounds: Callable[[list[float], list[bool]], Bounds | None], grid: list[float]
) -> Ranges:
    """``by`` names the places; ``bounds`` reads the range off the other axis, whose points are ``grid``."""
    ranges: Ranges = {}
    for arm, passing in zip((BASELINE, found.treatment), found.passing, strict=True):
        ranges[arm] = {}
        for place, rows in passing.groupby(level=by):
            if len(rows) == len(grid):  # a place that lacks a cell has no range
                ranges[arm][float(str(place))] = [bounds(grid, list(rows[seed])) for seed in found.seeds]
    return ranges


def ratios_of_limits(found: Map) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The bounds of the ratio of the limits: scales × seeds, NaN where an arm trains at no rate of the grid."""
    ranges = limits(found)
    return _compared(found, ranges, lambda one, other: censored.ratio_bounds(one, other) if one and other else None)


def differences_of_spans(found: Map) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The bounds of the difference of the spans, in decades: rates × seeds, NaN where neither arm trains.

    An arm that trains at no scale of the grid may train between two of its points.
    """
    nowhere = (0.0, float(np.diff(censored.decades(found.scales)).max(initial=0.0)))

    def compared(one: Bounds | None, other: Bounds | None) -> Bounds | None:
        return censored.difference_bounds(one or nowhere, other or nowhere) if one or other else None

    return _compared(found, spans(found), compared)


def _compared(
    found: Map, ranges: Ranges, compare: Callable[[Bounds | None, Bounds | None], Bounds | None]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    places = [place for place in ranges[found.treatment] if place in ranges[BASELINE]]
    pairs = {
        place: [
            compare(one, other) or (np.nan, np.nan)
            for one, other in zip(ranges[found.treatment][place], ranges[BASELINE][place], strict=True)
        ]
        for place in places
    }
    low, high = (
        pd.DataFrame([[each[end] for each in pairs[place]] for place in places], index=places, columns=found.seeds)
        for end in (0, 1)
    )
    return low.astype(float), high.astype(float)


def higher_learning_rates(results: Results) -> Evidence:
    """Judged on stability_limit, whose rates are closer together; on the map where that was not run."""
    rule, notes = rules.HIGHER_LEARNING_RATES, [HISTORY]
    try:
        found, decides = read(results, LIMIT, activation=SIGMOID), LIMIT
    except NotRun as reason:
        found, decides = read(results), NAME
        notes.append(f"{reason.asked_of(results.treatment)}; until then the coarser grid of {NAME} decides")
    low, high = ratios_of_limits(found)
    shares = rule.shares(low, high)
    estimates = share_estimates(rule, shares, results.treatment)
    elsewhere = {f"over the scales of {decides}": (rule.verdict_on(shares), estimates[0])}
    label = "ratio of the largest rates that train"
    for scale in low.index:
        if low.loc[scale].notna().any():
            interval = censored.over_seeds(low.loc[scale].dropna(), high.loc[scale].dropna(), log=True)
            estimates.append(Estimate(f"{label}, initial scale {scale:g}", results.treatment, interval))
        else:
            notes.append(f"initial scale {scale:g}: an arm trains at no rate, so that there is no ratio")
    estimates += _other_limits(results, decides, notes)
    estimates += _tuned_limit(results, label, elsewhere, notes)
    beside, verdict = single_cell(learning_rate.higher_learning_rates, rule, results, notes, SINGLE)
    if verdict is not None:
        elsewhere[SINGLE] = verdict
    return Evidence(
        estimates + beside, notes, _table(low, high), shares=shares, words=disagreement(elsewhere)
    )  # fmt: skip


def _other_limits(results: Results, decides: str, notes: list[str]) -> list[Estimate]:
    """The same shares on the other grids and with the other nonlinearity."""
    rule, estimates = rules.HIGHER_LEARNING_RATES, []
    others = [(NAME, SIGMOID, f"on {NAME}"), (LIMIT, RELU, "with ReLU"),
              (DIGITS, SIGMOID, "on the digits")]  # fmt: skip
    for experiment, activation, where in others:
        if experiment == decides == NAME:
            continue
        try:
            shares = rule.shares(*ratios_of_limits(read(results, experiment, activation=activation)))
        except NotRun as reason:
            notes.append(f"{where}: {reason.asked_of(results.treatment)}")
            continue
        [first, *_] = share_estimates(rule, shares, results.treatment)
        name = f"the same {where}: {rule.verdict_on(shares)}"
        estimates.append(Estimate(name, first.arm, first.interval, unit="share", said=first.said))
    return estimates


def _tuned_limit(
    results: Results, label: str, elsewhere: dict[str, tuple[str, Estimate]], notes: list[str]
) -> list[Estimate]:
    """The ratio of the limits with each arm at its own best scale on validation."""
    return _tuned(
        results, rules.HIGHER_LEARNING_RATES, limits, 0, censored.ratio_bounds, label, elsewhere, notes, log=True
    )  # fmt: skip


def _tuned(
    results: Results, rule: OnMap, ranges: Callable[[Map], Ranges], place: int,
    compare: Callable[[Bounds, Bounds], Bounds], label: str, elsewhere: dict[str, tuple[str, Estimate]],
    notes: list[str], log: bool = False,
) -> list[Estimate]:  # fmt: skip
    """A range compared with each arm at its own best scale (``place`` 0) or rate (1) on validation."""
    try:
        found = read(results)
        mine, plain = (ranges(found)[arm][found.best(arm)[place]] for arm in (found.treatment, BASELINE))
    except (NotRun, KeyError):
        notes.append(f"{TUNED}: no map with both arms")
        return []
    pairs = [compare(one, other) for one, other in zip(mine, plain, strict=True) if one and other]
    if not pairs:
        return []
    interval = censored.over_seeds([low for low, _ in pairs], [high for _, high in pairs], log)
    estimate = Estimate(f"{label}, {TUNED}", found.treatment, interval, unit=rule.effect)
    elsewhere[f"with {TUNED}"] = (rule.each.verdict(interval), estimate)
    return [estimate]


def robust_to_init(results: Results) -> Evidence:
    rule, found = rules.ROBUST_TO_INIT, read(results)
    low, high = differences_of_spans(found)
    shares = rule.shares(low, high)
    estimates = share_estimates(rule, shares, results.treatment, "decades")
    estimates.append(class_estimate(found))
    elsewhere = {"over the rates of the map": (rule.verdict_on(shares), estimates[0])}
    notes = [HISTORY, *class_notes(found)]
    label = "decades of initial scale that train, difference"
    for rate in low.index:
        if low.loc[rate].notna().any():
            interval = censored.over_seeds(low.loc[rate].dropna(), high.loc[rate].dropna())
            estimates.append(Estimate(f"{label}, rate {rate:g}", results.treatment, interval, unit="number"))
    estimates += _tuned(
        results, rule, spans, 1, censored.difference_bounds, label, elsewhere, notes
    )  # fmt: skip
    for where, experiment, budget in [*((f"at {budget:,} steps", NAME, budget) for budget in rules.BUDGETS
                                        if budget < found.budget), ("on the digits", DIGITS, None)]:  # fmt: skip
        try:
            there = rule.shares(*differences_of_spans(read(results, experiment, budget)))
        except NotRun as reason:
            notes.append(f"{where}: {reason.asked_of(results.treatment)}")
            continue
        [first, *_] = share_estimates(rule, there, results.treatment, "decades")
        name = f"the same {where}: {rule.verdict_on(there)}"
        estimates.append(Estimate(name, first.arm, first.interval, unit="share", said=first.said))
    where = "at the plain network's best rate"
    beside, verdict = single_cell(init_scale.robust_to_init, rule, results, notes, where)
    if verdict is not None:
        elsewhere[where] = verdict
    return Evidence(estimates + beside, notes, _table(low, high), shares=shares, words=disagreement(elsewhere))


def _table(low: pd.DataFrame, high: pd.DataFrame) -> pd.DataFrame:
    """The bounds of every place (columns) and seed (rows)."""
    columns = {f"{place:g}: {end}": frame.loc[place] for place in low.index
               for end, frame in (("from", low), ("to", high))}  # fmt: skip
    return pd.DataFrame(columns, index=pd.Index(low.columns, name="seed"))
