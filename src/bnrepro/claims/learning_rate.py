"""§3.3, §3.2: the largest learning rate at which each arm trains, and normalising before or after the activation."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnrepro import stats
from bnrepro.claims import points, sampling, style, sweeps
from bnrepro.claims.claim import Claim, Evidence, Experiment, NotRun, tables_of
from bnrepro.stats import BASELINE, Above, Estimate, Interval, censored
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
            bounds = [censored.ratio_bounds(mine, plain)
                      for mine, plain in zip(largest[arm], largest[BASELINE], strict=True)]  # fmt: skip
            ratio = censored.over_seeds([low for low, _ in bounds], [high for _, high in bounds], log=True)
            name = f"ratio of the largest learning rates that train, {activation}"
            estimates.append(Estimate(name, arm, ratio, decides))
            if decides:
                seeds = pd.DataFrame(bounds, index=largest.index, columns=["from", "to"])
            if arm == results.treatment:
                notes += _bounds(tables, activation, largest)
    return Evidence(estimates, notes, seeds)


def largest_rates(tables: Tables, activation: str, *arms: str) -> tuple[pd.DataFrame | None, str]:
    """The bounds of the largest rate at which each arm trains, seeds (rows) × arms (columns); or None, and the reason.

    Counts only rates and seeds that all arms share. Where no rate passes, the largest lies below the lowest.
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
    nowhere = (0.0, float(shared[0]))
    largest = {
        arm: [censored.largest_passing(shared, list(row)) or nowhere for row in complete[arm][shared].to_numpy()]
        for arm in arms
    }
    return pd.DataFrame(largest, index=complete.index), ""


def _bounds(tables: Tables, activation: str, largest: pd.DataFrame) -> list[str]:
    """Notes on the rates up to which each arm trains, and on the ends of the grid that bound them."""
    notes = []
    for arm in largest:
        ends_at = [
            f"{low:g} (not at {high:g})" for low, high in sorted(set(largest[arm])) if low and math.isfinite(high)
        ]
        if ends_at:
            notes.append(f"{activation}, {arm}: trains up to {', '.join(ends_at)}")
        top, none = sum(math.isinf(high) for _, high in largest[arm]), sum(low == 0 for low, _ in largest[arm])
        if top:
            notes.append(f"{activation}, {arm}: {top} of {len(largest)} seeds pass at the top of the grid: lower bound")
        if none:
            notes.append(f"{activation}, {arm}: {none} of {len(largest)} seeds pass nowhere: below the grid")
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
            notes += sampling.notes(tables, difference, float(complete[after].mean()))
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
        slug="placement",
        group="A",
        origin="paper",
        sentence="Normalising before the nonlinearity is better than after it.",
        source="§3.2; readers disagree",
        metric="difference of final test accuracy, before minus after, each at its best learning rate on validation, "
        "sigmoid",
        unit="difference",
        network="MLP of §4.1",
        rule=Above(0.0),
        paper="argued in the text; no experiment is given",
        deviation=f"the network of §4.1; {GRID}",
        figure="learning_rate_accuracy",
        numbers=placement,
    ),
)


def section(results: Results) -> str:
    """The limits on this coarser ladder."""
    where = (
        f"The network of §4.1 at one initial standard deviation; {GRID}. The verdict is that of stability_limit, whose "
        "rates are closer together and which asks at five initial scales."
    )
    return points.section(
        results, "Largest rates at one initial scale", where, {"higher_learning_rates": higher_learning_rates}
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
    """Above, every run; below, at a larger scale, the rates at which an arm trains, its best on validation ringed."""
    figure, axes = style.canvas(style.PAGE, 4.6, 2, len(activations), sharey="row", sharex="col")
    runs, validation = ends(tables), ends(tables, "validation")
    for panel in axes.flat:
        panel.set_xscale("log")
    own = [runs[runs[ACTIVATION] == activation] for activation in activations]
    sweeps.ends_against(axes[0], own, RATE, arms)
    for close, rows in zip(axes[1], own, strict=True):
        for arm in arms:
            _those_that_train(close, rows[rows["arm"] == arm], validation.loc[rows.index], arm)
        if not close.lines:
            style.nothing(close, f"no arm ends at {PASS:.0%} or more")
        close.set_xlabel("learning rate")
    style.mark(axes[0, -1], PASS, f"trains:\n{PASS:.0%}")
    for panel in axes[0, :-1]:
        panel.axhline(PASS, **style.GUIDE)
    axes[0, 0].set_ylabel("final test accuracy")
    axes[1, 0].set_ylabel("where it trains (ring: best)")
    style.legend_below(figure, axes[0], len(arms))
    _titles(figure, tables, axes[0], activations)
    return figure


def _those_that_train(axes: Axes, runs: pd.DataFrame, validation: pd.DataFrame, arm: str) -> None:
    """The means that pass, over the seeds that have an end, with a ring around the best rate on validation."""
    found = {float(str(rate)): rows["end"].dropna() for rate, rows in runs.groupby(RATE)}
    passing = {rate: stats.paired_difference(each) for rate, each in found.items() if each.mean() >= PASS}
    if not passing:
        return
    sweeps.with_intervals(axes, passing, arm, bounds=(0, 1))
    best = best_by(validation[validation["arm"] == arm], RATE)
    if best in passing:
        axes.plot([best], [passing[best].value], "o", color=style.colour(arm), fillstyle="none", markersize=9)


def _steps(tables: Tables, activations: list[str], arms: list[str]) -> Figure:
    """Geometric mean and interval of the steps over the seeds; above, how many seeds do not reach the target."""
    figure, [axes] = style.canvas(style.PAGE, 3.0, 1, len(activations), sharey=True)
    accuracy = stats.curve(tables.metrics, "test", "accuracy")
    runs = tables.runs.set_index("run")
    runs = runs.assign(steps=stats.steps_to(accuracy, TARGET).reindex(runs.index))
    every: list[dict[str, dict[float, int]]] = []
    for panel, activation in zip(axes, activations, strict=True):
        panel.set(xscale="log", yscale="log", xlabel="learning rate")
        missed: dict[str, dict[float, int]] = {}
        every.append(missed)
        for arm in arms:
            chosen = runs[(runs["arm"] == arm) & (runs[ACTIVATION] == activation)]
            steps = {float(str(rate)): group.to_numpy() for rate, group in chosen.groupby(RATE)["steps"]}
            missed[arm] = {rate: int(np.isnan(each).sum()) for rate, each in steps.items()}
            reached = {rate: each for rate, each in steps.items() if not missed[arm][rate]}
            points = {rate: stats.paired_ratio(each, np.ones(len(each))) for rate, each in reached.items()}
            sweeps.with_intervals(panel, points, arm)
        if not any(len(line.get_xdata()) for line in panel.lines):
            style.nothing(panel, f"no arm reaches {TARGET:.0%} in every seed")
    sweeps.strips_above(axes, every, "seeds that never do")
    style.decimals(axes[0].yaxis)
    axes[0].set_ylabel(f"steps to {TARGET:.0%} test accuracy")
    style.legend_below(figure, axes, len(arms))
    _titles(figure, tables, axes, activations)
    return figure


def _titles(figure: Figure, tables: Tables, axes: np.ndarray, activations: list[str]) -> None:
    style.panel_letters(axes, [LABELS[activation] for activation in activations])
    figure.suptitle(style.seeds_note(tables))


DECLARED = Experiment(NAME, 40, CLAIMS, figures, section, draws_all=True)
