"""§3.3, §3.2: the largest learning rate at which each arm trains, and normalising before or after the activation."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bnrepro import stats
from bnrepro.claims import style
from bnrepro.claims.claim import Claim, Evidence, Experiment, NotRun, tables_of
from bnrepro.stats import BASELINE, Above, Estimate, Interval
from bnrepro.stats.selection import RATE, best_by, ends, lasts
from bnrepro.tables import Results, Tables

NAME, ACTIVATION = "learning_rate", "model.activation"
PASS = 0.9
"""A run trains at its rate if its last test accuracy is at least this. A diverged run does not."""
TARGET = 0.95
"""Test accuracy; the figure counts the steps to it."""
DECIDES, BESIDE = "sigmoid", "relu"
"""§4.1 has sigmoids, so they decide; the ReLU's estimates are printed beside them."""
LABELS = {DECIDES: "sigmoid", BESIDE: "ReLU"}


def higher_learning_rates(results: Results) -> Evidence:
    tables = tables_of(results, NAME)
    estimates: list[Estimate] = []
    notes: list[str] = []
    seeds: pd.DataFrame | None = None
    for activation in (DECIDES, BESIDE):
        for arm in (results.treatment, f"{results.treatment}-after"):
            decides = (activation, arm) == (DECIDES, results.treatment)
            largest, problem = largest_rates(tables, activation, BASELINE, arm)
            if largest is None:
                if decides:
                    raise NotRun(NAME, problem)
                notes.append(f"{activation}, {arm}: {problem}")
                continue
            ratio = stats.paired_ratio(largest[arm], largest[BASELINE])
            name = f"ratio of the largest learning rates that train, {activation}"
            estimates.append(Estimate(name, arm, ratio, decides))
            if decides:
                seeds = pd.DataFrame({"without": largest[BASELINE], "with": largest[arm]})
                seeds = seeds.assign(ratio=seeds["with"] / seeds["without"])
            if arm == results.treatment:
                notes += _bounds(tables, activation, largest)
    primary = estimates[0].interval
    if primary.low == primary.high and primary.n > 1:
        notes.append(
            "every seed gives the same ratio: what limits the estimate is the grid, not the seeds; the true ratio lies "
            f"within one step of it, a factor of {_step(tables.runs[RATE].unique()):.3g} either way"
        )
    return Evidence(estimates, notes, seeds)


def _step(rates: np.ndarray | list[float]) -> float:
    """The geometric mean of the factors from one rate of a grid to the next."""
    return float(np.exp(np.diff(np.log(np.sort(rates))).mean()))


def largest_rates(tables: Tables, activation: str, *arms: str) -> tuple[pd.DataFrame | None, str]:
    """The largest rate at which each arm trains, seeds (rows) × arms (columns); or None, and the reason.

    Counts only rates and seeds that all arms share. Where no rate passes, the result is one grid step below the lowest.
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
    below = shared[0] / _step(shared)
    largest = {
        arm: [max([below, *(rate for rate in shared if row[(arm, rate)])]) for _, row in complete.iterrows()]
        for arm in arms
    }
    return pd.DataFrame(largest, index=complete.index), ""


def _bounds(tables: Tables, activation: str, largest: pd.DataFrame) -> list[str]:
    """Notes on the rates up to which each arm trains, and on the ends of the grid that bound them."""
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


def placement(results: Results) -> Evidence:
    tables = tables_of(results, NAME)
    before, after = results.treatment, f"{results.treatment}-after"
    estimates: list[Estimate] = []
    notes: list[str] = []
    seeds, lost = None, 0
    for activation in (DECIDES, BESIDE):
        decides = activation == DECIDES
        chosen, problem = _at_best(tables, activation, before, after)
        if chosen is None:
            if decides:
                raise NotRun(NAME, problem)
            notes.append(problem)
            continue
        values, rates = chosen
        complete = values.dropna()
        if complete.empty:
            raise NotRun(NAME, f"no seed finished with both placements and {activation}")
        difference = stats.paired_difference(complete[before] - complete[after])
        label = f"final test accuracy, before minus after, {activation}"
        estimates.append(Estimate(label, before, difference, decides, "difference"))
        for arm in (before, after):
            end = stats.paired_difference(complete[arm])
            label = f"final test accuracy, {activation}, rate {rates[arm]:g}"
            estimates.append(Estimate(label, arm, end, unit="share"))
        if decides:
            lost = int(values[before].isna().sum())
            seeds = complete.rename(columns={before: "before", after: "after"})
            seeds = seeds.assign(difference=seeds["before"] - seeds["after"])
        notes += _edges(tables, activation, rates)
        if not decides and _opposite(estimates[0].interval, difference):
            notes.append("The two nonlinearities disagree: there is no one answer to which place is better.")
    return Evidence(estimates, notes, seeds, lost)


def _at_best(tables: Tables, activation: str, *arms: str) -> tuple[tuple[pd.DataFrame, dict[str, float]] | None, str]:
    """Final test accuracies (seeds × arms) and rates, each arm at its best on validation; or None, and the reason."""
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
    """Whether the intervals lie on different sides of zero."""
    return (one.low > 0 and other.high < 0) or (one.high < 0 and other.low > 0)


GRID = "nine learning rates from 0.04 to 44, a factor of 2.4 apart, 10,000 steps on binary MNIST"

CLAIMS = (
    Claim(
        slug="higher_learning_rates",
        group="A",
        origin="paper",
        sentence="With Batch Normalization the network trains at learning rates at which it otherwise cannot.",
        source="§3.3",
        metric=f"ratio of the largest learning rates at which a run ends at {PASS:.0%} test accuracy or more, with BN "
        "over without, sigmoid",
        unit="ratio",
        rule=Above(3.0, null=1.0),
        paper="the Inception trains at 30 times the rate; at 5 times the rate it fails without BN (§4.2.1)",
        deviation=f"the network of §4.1; {GRID}",
        figure="learning_rate_accuracy",
        numbers=higher_learning_rates,
    ),
    Claim(
        slug="placement",
        group="A",
        origin="paper",
        sentence="Normalising before the nonlinearity is better than after it.",
        source="§3.2; readers disagree",
        metric="difference of final test accuracy, before minus after, each at its best learning rate on validation, "
        "sigmoid",
        unit="difference",
        rule=Above(0.0),
        paper="argued in the text; no experiment is given",
        deviation=f"the network of §4.1; {GRID}",
        figure="learning_rate_accuracy",
        numbers=placement,
    ),
)


def figures(results: Results) -> dict[str, Figure]:
    """Final accuracy, and steps to the target, against the learning rate: two figures, a panel per activation."""
    tables = tables_of(results, NAME)
    found = [activation for activation in LABELS if activation in set(tables.runs[ACTIVATION])]
    arms = style.arms_of(tables, results.treatment)
    return {
        "learning_rate_accuracy": _accuracy(tables, found, arms),
        "learning_rate_steps": _steps(tables, found, arms),
    }


def _accuracy(tables: Tables, activations: list[str], arms: list[str]) -> Figure:
    figure, [axes] = style.canvas(style.PAGE, 2.5, 1, len(activations), sharey=True)
    runs = ends(tables)
    for panel, activation in zip(axes, activations, strict=True):
        panel.set(xscale="log", ylim=(0, 1), xlabel="learning rate")
        style.ends_against(panel, runs[runs[ACTIVATION] == activation], RATE, arms)
        panel.axhline(PASS, **style.GUIDE)
    axes[0].set(ylabel="final test accuracy (× = diverged)")
    axes[0].legend(loc="center left")
    _titles(tables, axes, activations)
    return figure


def _steps(tables: Tables, activations: list[str], arms: list[str]) -> Figure:
    """Geometric mean and interval of the steps over the seeds; a cross where some seed does not reach the target."""
    figure, [axes] = style.canvas(style.PAGE, 2.5, 1, len(activations), sharey=True)
    accuracy = stats.curve(tables.metrics, "test", "accuracy")
    budget = float(accuracy.index.max())
    runs = tables.runs.set_index("run")
    runs = runs.assign(steps=stats.steps_to(accuracy, TARGET).reindex(runs.index))
    for panel, activation in zip(axes, activations, strict=True):
        panel.set(xscale="log", yscale="log", xlabel="learning rate")
        for index, arm in enumerate(arms):
            chosen = runs[(runs["arm"] == arm) & (runs[ACTIVATION] == activation)]
            steps = {float(str(rate)): group.to_numpy() for rate, group in chosen.groupby(RATE)["steps"]}
            reached = {rate: each for rate, each in steps.items() if not np.isnan(each).any()}
            points = {rate: stats.paired_ratio(each, np.ones(len(each))) for rate, each in reached.items()}
            style.with_intervals(panel, points, arm)
            # Above the budget, one arm above the other, so that no cross hides another.
            style.crosses(panel, [rate for rate in steps if rate not in reached], budget * 1.25 ** (index + 1), arm)
        panel.axhline(budget, **style.GUIDE)
    axes[0].set(ylabel=f"training steps to {TARGET:.0%} test accuracy\n(× = not in every seed)")
    axes[-1].legend(loc="center right")
    _titles(tables, axes, activations)
    return figure


def _titles(tables: Tables, axes: np.ndarray, activations: list[str]) -> None:
    titles = [LABELS[activation] for activation in activations]
    titles[0] += f"; {style.seeds_note(tables)}"
    style.panel_letters(axes, titles)


DECLARED = Experiment(NAME, 40, CLAIMS, figures, draws_all=True)
