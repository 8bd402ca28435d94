"""The estimates behind the claims of mnist_training."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bnrepro import stats
from bnrepro.claims import sampling
from bnrepro.claims.claim import Evidence, Inapplicable, paired_runs
from bnrepro.claims.mnist_training_own_rate import NAME as OWN_RATE
from bnrepro.stats import BASELINE, Estimate, Pairs, pair_by_seed
from bnrepro.stats.selection import RATE, SCALE
from bnrepro.tables import Results, Tables

NAME = "mnist_training"
TARGET_ACCURACY, TARGET_LOSS = 0.95, 0.1
EARLY_SHARES = (0.02, 0.1)
PERCENTILES = (15, 50, 85)
"""Percentiles of a unit's inputs, as in Fig. 1b, c. The drift is computed from them."""
TYPICAL_UNIT = 0
"""The paper shows "a typical sigmoid" without naming it. We chose the layer's first one before any run."""


def faster_training(results: Results) -> Evidence:
    tables, pairs = paired_runs(results, NAME)
    accuracy = stats.curve(tables.metrics, "test", "accuracy")
    ends = stats.final(accuracy)
    goals = {
        "the plain network's final test accuracy": ends,
        "the plain network's maximum test accuracy": accuracy.max(),
        f"{TARGET_ACCURACY:.0%} test accuracy": pd.Series(TARGET_ACCURACY, index=accuracy.columns),
    }
    estimates, notes, seeds, lost = [], list(pairs.notes), None, pairs.treatment_diverged
    for name, goal in goals.items():
        steps, missed = _steps(accuracy, accuracy, pairs, goal)
        decides = goal is ends
        estimates.append(Estimate(f"ratio of steps to {name}", results.treatment, pairs.ratio(steps), decides))
        if decides:
            seeds = pairs.listed(steps, "ratio").assign(target=pairs.without(goal))
            lost += missed
        if missed:
            notes.append(f"{missed} of {len(pairs)} runs with {results.treatment} never reached {name}")
    if found := _own_runs(results, tables):
        own, beside = found
        steps, missed = _steps(accuracy, stats.curve(own.metrics, "test", "accuracy"), beside, ends)
        estimates.append(Estimate(f"ratio of steps to it, {_own_choice(own)}", results.treatment, beside.ratio(steps)))
        if missed:
            notes.append(f"{missed} of {len(beside)} runs {_own_choice(own)} never reached it")
    return Evidence(estimates, notes, seeds, lost)


def _steps(plain: pd.DataFrame, other: pd.DataFrame, pairs: Pairs, goal: pd.Series) -> tuple[pd.Series, int]:
    """Steps of every run to its pair's ``goal`` (one per baseline run), and how many treatment runs never reach it.

    A run that never reaches the goal counts with its whole budget. That favours the baseline; the claim cannot be
    supported if a treatment run is among them.
    """
    without = stats.steps_to(plain[pairs.baseline], goal)
    treated = stats.steps_to(other[pairs.treatment], pd.Series(pairs.without(goal), index=pairs.treatment))
    missed = int(treated.isna().sum())
    return pd.concat([without.fillna(plain.index.max()), treated.fillna(other.index.max())]), missed


def _own_runs(results: Results, tables: Tables) -> tuple[Tables, Pairs] | None:
    """The runs at BN's own best rate, and the seeds that they share with the plain network; None if there are none."""
    own = results.tables(OWN_RATE)
    if own is None:
        return None
    pairs = pair_by_seed(tables.runs, results.treatment, own.runs)
    return (own, pairs) if len(pairs) else None


def _own_choice(own: Tables) -> str:
    scale, rate = (", ".join(f"{value:g}" for value in sorted(set(own.runs[key]))) for key in (SCALE, RATE))
    return f"at BN's own best learning rate and scale ({rate}, {scale})"


def higher_accuracy(results: Results) -> Evidence:
    tables, pairs = paired_runs(results, NAME)
    accuracy = stats.curve(tables.metrics, "test", "accuracy")
    ends, tops = stats.final(accuracy), accuracy.max()
    final = pairs.difference(ends)
    estimates = [
        Estimate("final test accuracy, difference", results.treatment, final, True, "difference"),
        Estimate("maximum test accuracy, difference", results.treatment, pairs.difference(tops), unit="difference"),
        *pairs.each("final test accuracy", ends, results.treatment, "share"),
    ]
    if found := _own_runs(results, tables):
        own, beside = found
        own_ends = stats.final(stats.curve(own.metrics, "test", "accuracy"))
        gain = beside.difference(pd.concat([ends[beside.baseline], own_ends]))
        label = f"final test accuracy, difference, {_own_choice(own)}"
        estimates.append(Estimate(label, results.treatment, gain, unit="difference"))
    notes = pairs.notes + sampling.notes(tables, final, float(pairs.without(ends).mean()))
    return Evidence(estimates, notes, pairs.listed(ends, "difference"), pairs.treatment_diverged)


def lower_training_loss(results: Results) -> Evidence:
    tables, pairs = paired_runs(results, NAME)
    loss = stats.curve(tables.metrics, "train", "loss")
    budget, ends = loss.index.max(), stats.final(loss)
    reached = stats.steps_to(loss, TARGET_LOSS, falling=True)
    never = {
        arm: int(np.isnan(reached[runs]).sum())
        for arm, runs in ((BASELINE, pairs.baseline), (results.treatment, pairs.treatment))
    }
    steps = reached.fillna(budget)
    label = f"ratio of steps to a training loss of {TARGET_LOSS:g}"
    estimates = [
        Estimate(label, results.treatment, pairs.ratio(steps), True),
        Estimate("final training loss, difference", results.treatment, pairs.difference(ends), unit="number"),
        *pairs.each("final training loss", ends, results.treatment, "number"),
    ]
    notes = pairs.notes + [
        f"{count} of {len(pairs)} runs of the arm {arm} never reached {TARGET_LOSS:g} in {budget:,} steps"
        for arm, count in never.items()
        if count
    ]
    lost = never[results.treatment] + pairs.treatment_diverged
    return Evidence(estimates, notes, pairs.listed(steps, "ratio"), lost)


def stable_inputs(results: Results) -> Evidence:
    tables, pairs = paired_runs(results, NAME, probe="activations")
    running, batch = drifts(tables, "running"), drifts(tables, "batch")
    if not set(pairs.frame.to_numpy().ravel()) <= set(running.columns):
        raise Inapplicable("a run has no two looks at its activations after the first 1% of its steps")
    medians, typical = running.median(), running.T[TYPICAL_UNIT]
    if still := [run for run in pairs.frame.to_numpy().ravel() if not np.isfinite([medians[run], typical[run]]).all()]:
        raise Inapplicable(
            f"in {len(still)} of its runs a unit's inputs end at one value, and have no width to move in"
        )
    primary = pairs.ratio(medians)
    label = "drift, in widths of the final distribution"
    estimates = [
        Estimate("ratio of drift, median over the units", results.treatment, primary, True),
        Estimate(f"ratio of drift, unit {TYPICAL_UNIT} alone", results.treatment, pairs.ratio(typical)),
        *pairs.each(label, medians, results.treatment, "number"),
    ]
    notes = list(pairs.notes)
    for share in EARLY_SHARES:
        early = drifts(tables, "running", share).median()
        if np.isfinite(early.reindex(pairs.frame.to_numpy().ravel())).all():
            ratio = pairs.ratio(early)
            label = f"ratio of drift within the first {share:.0%} of the steps"
            estimates.append(Estimate(label, results.treatment, ratio))
            if ratio.high < 1 <= primary.low and share == EARLY_SHARES[0]:
                ends = stats.final(stats.curve(tables.metrics, "train", "loss"))
                notes.append(
                    f"The order turns in training. Within the first {share:.0%} of the steps the inputs move less "
                    f"with {results.treatment}, over the whole more. The plain network ends at a training "
                    f"loss of {pairs.without(ends).mean():.2g} against {pairs.treated(ends).mean():.2g}: it has all "
                    "but stopped learning, and what does not learn does not move."
                )
    if set(pairs.treatment) <= set(batch.columns):
        own = pairs.ratio(pd.concat([medians[pairs.baseline], batch.median()]))
        estimates.append(Estimate("ratio of drift, by the batch's own statistics", results.treatment, own))
    return Evidence(estimates, notes, pairs.listed(medians, "ratio"))


def drifts(tables: Tables, statistics: str, until: float = 1.0) -> pd.DataFrame:
    """:func:`~bnrepro.drift.drift` of every unit (rows) of every run (columns), without runs too short for a drift.

    ``until`` < 1 takes that first share of the training as the whole.
    """
    seen = tables.probes["activations"]
    units = [column for column in seen.columns if column.startswith("u")]
    found = {}
    for run, rows in seen[seen["statistics"] == statistics].groupby("run", sort=False):
        steps = rows["step"].drop_duplicates().to_numpy()
        values = np.stack([rows.loc[rows["percentile"] == p, units].to_numpy() for p in PERCENTILES], axis=2)
        moved = stats.drift(values, steps, until)
        if moved is not None:
            found[run] = moved
    return pd.DataFrame(found)


def activation_distribution(results: Results) -> Evidence:
    tables, pairs = paired_runs(results, NAME, probe="layers")
    layers = tables.probes["layers"]
    layers = layers[(layers["statistics"] == "running") & (layers["step"] == layers["step"].max())]
    saturated = layers.pivot(index="run", columns="layer", values="saturated")
    mean = saturated.mean(axis=1)
    label = "saturated share, {}, difference"
    estimates = [
        Estimate(label.format("mean of the layers"), results.treatment, pairs.difference(mean), True, "difference"),
        *(
            Estimate(
                label.format(f"hidden layer {layer + 1}"),
                results.treatment,
                pairs.difference(column),
                unit="difference",
            )
            for layer, column in saturated.items()
        ),
        *pairs.each("saturated share, mean of the layers", mean, results.treatment, "share"),
    ]
    return Evidence(estimates, pairs.notes, pairs.listed(mean, "difference"))
