"""§3.3 and §3.2: how high a learning rate each arm bears, and whether to normalise before or after the activation."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bnrepro import stats
from bnrepro.claims.base import BASELINE, Claim, Estimate, Experiment, Judgement, Results, not_run, unless_lost
from bnrepro.pictures import learning_rate as pictures
from bnrepro.stats import Interval
from bnrepro.stats.selection import RATE, best_by, ends, lasts
from bnrepro.tables import Tables

EXPERIMENT, ACTIVATION = "learning_rate", "model.activation"
PASS = 0.9
"""A run trains at its rate if its last test accuracy is at least this; one that diverged does not."""
DECIDES, BESIDE = "sigmoid", "relu"
"""§4.1 has sigmoids: they decide; the same for ReLU is printed beside it."""


def higher_learning_rates(results: Results) -> Judgement:
    tables = results.tables(EXPERIMENT)
    if tables is None:
        return not_run(EXPERIMENT)
    estimates: list[Estimate] = []
    notes: list[str] = []
    rows: pd.DataFrame | None = None
    for activation in (DECIDES, BESIDE):
        for arm in (results.treatment, f"{results.treatment}-after"):
            largest, problem = largest_rates(tables, activation, BASELINE, arm)
            if largest is None:
                if activation == DECIDES and arm == results.treatment:
                    return not_run(EXPERIMENT, problem)
                notes.append(f"{activation}, {arm}: {problem}")
                continue
            ratio = stats.paired_ratio(largest[arm].to_numpy(), largest[BASELINE].to_numpy())
            name = f"ratio of the largest learning rates that train, {activation}"
            estimates.append(Estimate(name, arm, ratio, not estimates))
            if arm == results.treatment:
                rows = _listed(largest, arm) if rows is None else rows
                notes += _bounds(tables, activation, largest)
    primary = estimates[0].interval
    if primary.low == primary.high and primary.n > 1:
        notes.append(
            "every seed gives the same ratio: what limits the estimate is the grid, not the seeds; the true ratio lies "
            f"within one step of it, a factor of {_step(tables):.3g} either way"
        )
    found = stats.verdict(primary, zero=1, margin=3, claimed="above")
    return Judgement(found, estimates, notes, rows)


def _step(tables: Tables) -> float:
    """The factor between neighbours of the grid."""
    return float(np.exp(np.diff(np.log(np.sort(tables.runs[RATE].unique()))).mean()))


def largest_rates(tables: Tables, activation: str, *arms: str) -> tuple[pd.DataFrame | None, str]:
    """The largest rate at which each arm trains, seed by seed (rows) and arm by arm; or None, and why there is none.

    Only rates and seeds that all arms have are looked at. Where no rate passes, it is one grid step below the lowest.
    """
    runs = lasts(tables)
    runs = runs[(runs[ACTIVATION] == activation) & runs["arm"].isin(arms)]
    missing = [arm for arm in arms if arm not in set(runs["arm"])]
    if missing:
        return None, f"the arm {', '.join(missing)} was not run with {activation}"
    passed = runs.assign(passed=runs["end"] >= PASS).pivot(index="seed", columns=["arm", RATE], values="passed")
    shared = sorted(set.intersection(*(set(passed[arm].columns) for arm in arms)))
    complete = passed[[(arm, rate) for arm in arms for rate in shared]].dropna()
    if len(shared) < 2 or complete.empty:
        return None, f"no seed has the arms {', '.join(arms)} at two or more learning rates with {activation}"
    below = shared[0] / float(np.exp(np.diff(np.log(shared)).mean()))
    largest = {
        arm: [max([below, *(rate for rate in shared if row[(arm, rate)])]) for _, row in complete.iterrows()]
        for arm in arms
    }
    return pd.DataFrame(largest, index=complete.index), ""


def _listed(largest: pd.DataFrame, arm: str) -> pd.DataFrame:
    rows = pd.DataFrame({"without": largest[BASELINE], "with": largest[arm]})
    return rows.assign(ratio=rows["with"] / rows["without"])


def _bounds(tables: Tables, activation: str, largest: pd.DataFrame) -> list[str]:
    """What has to be said where an arm passes at the end of the grid, or nowhere."""
    rates = tables.runs[RATE]
    notes = []
    for arm in largest:
        values = sorted(set(largest[arm]))
        notes.append(f"{activation}, {arm}: trains up to {', '.join(f'{value:g}' for value in values)}")
        top, none = int((largest[arm] == rates.max()).sum()), int((largest[arm] < rates.min()).sum())
        if top:
            notes.append(f"{activation}, {arm}: {top} of {len(largest)} seeds pass at the top of the grid: lower bound")
        if none:
            notes.append(f"{activation}, {arm}: {none} of {len(largest)} seeds pass nowhere: one step below the grid")
    return notes


def placement(results: Results) -> Judgement:
    tables = results.tables(EXPERIMENT)
    if tables is None:
        return not_run(EXPERIMENT)
    before, after = results.treatment, f"{results.treatment}-after"
    estimates: list[Estimate] = []
    notes: list[str] = []
    rows, lost = None, 0
    for activation in (DECIDES, BESIDE):
        chosen, problem = _at_best(tables, activation, before, after)
        if chosen is None:
            if activation == DECIDES:
                return not_run(EXPERIMENT, problem)
            notes.append(problem)
            continue
        values, rates = chosen
        complete = values.dropna()
        if complete.empty:
            return not_run(EXPERIMENT, f"no seed finished with both placements and {activation}")
        difference = stats.paired_difference((complete[before] - complete[after]).to_numpy())
        label = f"final test accuracy, before minus after, {activation}"
        estimates.append(Estimate(label, before, difference, not estimates, "difference"))
        for arm in (before, after):
            end = stats.paired_difference(complete[arm].to_numpy())
            estimates.append(
                Estimate(f"final test accuracy, {activation}, rate {rates[arm]:g}", arm, end, unit="share")
            )
        if rows is None:
            lost = int(values[before].isna().sum())
            rows = complete.rename(columns={before: "before", after: "after"})
            rows = rows.assign(difference=rows["before"] - rows["after"])
        notes += _edges(tables, activation, rates)
        if activation == BESIDE and _opposite(estimates[0].interval, difference):
            notes.append("The two nonlinearities disagree: there is no one answer to which place is better.")
    found = stats.verdict(estimates[0].interval, zero=0, margin=0, claimed="above")
    return Judgement(unless_lost(found, lost), estimates, notes, rows)


def _at_best(tables: Tables, activation: str, *arms: str) -> tuple[tuple[pd.DataFrame, dict[str, float]] | None, str]:
    """Final test accuracies (seeds × arms), each arm at its best rate on validation, and those rates."""
    chosen = tables.runs[ACTIVATION] == activation
    validation, test = (ends(tables, split)[chosen.to_numpy()] for split in ("validation", "test"))
    columns, rates = {}, {}
    for arm in arms:
        mine = validation[validation["arm"] == arm]
        best = best_by(mine, RATE)
        if best is None:
            return None, f"{activation}: the arm {arm} was not run, or diverged at every rate"
        rates[arm] = best
        columns[arm] = test[(test["arm"] == arm) & (test[RATE] == best)].set_index("seed")["end"]
    return (pd.DataFrame(columns), rates), ""


def _edges(tables: Tables, activation: str, rates: dict[str, float]) -> list[str]:
    grid = tables.runs[RATE]
    return [
        f"{activation}, {arm}: its best rate {rate:g} lies on the edge of the grid"
        for arm, rate in rates.items()
        if rate in (grid.min(), grid.max())
    ]


def _opposite(one: Interval, other: Interval) -> bool:
    """Whether both intervals lie off zero, on different sides of it."""
    return (one.low > 0 and other.high < 0) or (one.high < 0 and other.low > 0)


GRID = "nine learning rates from 0.04 to 44, a factor of 2.4 apart, 10,000 steps on binary MNIST"

CLAIMS = (
    Claim(
        slug="higher_learning_rates",
        group="A",
        sentence="With Batch Normalization the network trains at learning rates at which it otherwise cannot.",
        source="§3.3",
        experiment=EXPERIMENT,
        metric="ratio of the largest learning rates at which a run ends at 90% test accuracy or more, with BN over "
        "without, sigmoid",
        rule="ratio at least 3",
        margin=3.0,
        paper="the Inception trains at 30 times the rate; at 5 times the rate it fails without BN (§4.2.1)",
        deviation=f"the network of §4.1; {GRID}",
        figure="learning_rate_accuracy",
        judge=higher_learning_rates,
    ),
    Claim(
        slug="placement",
        group="A",
        sentence="Normalising before the nonlinearity is better than after it.",
        source="§3.2; readers disagree",
        experiment=EXPERIMENT,
        metric="difference of final test accuracy, before minus after, each at its best learning rate on validation, "
        "sigmoid",
        rule="difference above 0",
        margin=0.0,
        paper="argued in the text; no experiment is given",
        deviation=f"the network of §4.1; {GRID}",
        figure="learning_rate_accuracy",
        judge=placement,
    ),
)

DECLARED = Experiment(EXPERIMENT, CLAIMS, pictures.figures)
