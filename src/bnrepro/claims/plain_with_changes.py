"""§4.2.1: what the paper's other changes do to the Inception without Batch Normalization."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from bnrepro import stats
from bnrepro.claims import style
from bnrepro.claims.claim import Claim, Evidence, Experiment, Inapplicable, NotRun, tables_of
from bnrepro.claims.inception_training import BASELINE, PROTOCOL, READ_FROM, X5
from bnrepro.claims.inception_training import NAME as REFERENCE
from bnrepro.stats import Below, Estimate, pair_by_seed
from bnrepro.stats.selection import ends
from bnrepro.tables import Results, Tables

NAME = "plain_with_changes"
RULE = Below(0.5, null=1)
"""The margin of fewer_steps_inception."""
ARMS = {"inception_changes": "×1", "inception_changes_x2": "×2", "inception_changes_x5": "×5"}
"""Arm → its learning rate as a multiple of Inception's."""


def plain_with_changes(results: Results) -> Evidence:
    tables, reference = tables_of(results, NAME), reference_of(results)
    chosen = best_rate(tables)
    accuracy = pd.concat(
        [stats.curve(each.metrics, "test", "accuracy") for each in (reference, tables)], axis="columns"
    ).sort_index()
    tops, budget = accuracy.max(), accuracy.index.max()
    goals = reference.runs[reference.runs["arm"] == BASELINE].set_index("seed")["run"].map(tops)
    everyone = pd.concat([reference.runs, tables.runs])
    targets = everyone.set_index("run")["seed"].map(goals).dropna()
    reached = stats.steps_to(accuracy[targets.index], targets)
    steps = reached.fillna(budget)

    pairs = pair_by_seed(everyone, X5, baseline=chosen)
    pairs = stats.Pairs(pairs.frame[pairs.frame.isin(targets.index).all(axis=1)], pairs.notes, pairs.treatment_diverged)
    if not len(pairs):
        raise NotRun(f"{REFERENCE},{NAME}", f"no seed finished with {BASELINE}, {X5} and {chosen}")
    label = "ratio of steps to Inception's maximum, BN-x5 over itself without BN"
    estimates = [Estimate(f"{label} at {ARMS[chosen]}, its best rate", X5, pairs.ratio(steps), True)]
    notes = [f"on validation {chosen} is the best of {tables.runs['arm'].nunique()} rates", *pairs.notes]
    for arm, rate in ARMS.items():
        notes += _missed(tables.runs[tables.runs["arm"] == arm], reached, budget)
        to_bn, to_plain = pair_by_seed(everyone, X5, baseline=arm), pair_by_seed(everyone, arm, baseline=BASELINE)
        if arm != chosen and len(to_bn):
            estimates.append(Estimate(f"{label} at {rate}", X5, to_bn.ratio(steps)))
        if len(to_bn):
            gap = to_bn.difference(tops)
            estimates.append(Estimate(f"maximum test accuracy, difference to {arm}", X5, gap, unit="difference"))
        if len(to_plain):
            alone = to_plain.ratio(steps)
            estimates.append(Estimate("ratio of steps to Inception's maximum, over Inception", arm, alone))
            gap = to_plain.difference(tops)
            estimates.append(Estimate("maximum test accuracy, difference to Inception", arm, gap, unit="difference"))
    missed = int(reached[pairs.treatment].isna().sum())
    rows = pairs.listed(steps, "ratio").assign(target=targets[pairs.baseline].to_numpy())
    return Evidence(estimates, notes, rows, pairs.treatment_diverged + missed)


def _missed(runs: pd.DataFrame, reached: pd.Series, budget: float) -> list[str]:
    """How many runs of an arm never reach the target, which are NaN in ``reached``, and how many diverge."""
    diverged = int((runs["status"] == "diverged").sum())
    finished = runs.loc[runs["status"] == "finished", "run"]
    missed = int(reached.reindex(finished).isna().sum())
    arm = "".join(runs["arm"].unique())
    return [f"{arm}: {missed} of {len(runs)} runs never reach it and count as {budget:,} steps"] * bool(missed) + [
        f"{arm}: {diverged} of {len(runs)} runs diverge and are left out"
    ] * bool(diverged)


def reference_of(results: Results) -> Tables:
    """The tables of inception_training, where BN-x5 and Inception were run. Raises :class:`NotRun`."""
    reference = results.tables(REFERENCE)
    if reference is None or not {BASELINE, X5} <= set(reference.runs["arm"]):
        raise NotRun(f"{REFERENCE},{NAME}", f"the arms {BASELINE} and {X5} of {REFERENCE} have not been run")
    return reference


def best_rate(tables: Tables) -> str:
    """The arm with the highest final validation accuracy, the mean of its seeds; never one of which a seed diverged."""
    validation = ends(tables, "validation")
    means = validation[validation["arm"].isin(ARMS)].groupby("arm")["end"].agg(lambda each: each.mean(skipna=False))
    means = means.reindex(list(ARMS)).dropna()
    if means.empty:
        raise Inapplicable(f"{NAME}: a seed diverged at every rate")
    return str(means.idxmax())


CLAIMS = (
    Claim(
        slug="plain_with_changes",
        group="A",
        origin="readers",
        sentence="With the paper's other changes made to both networks, the Inception with Batch Normalization"
        " still reaches the plain network's best accuracy in a fraction of the steps: it is BN, not "
        "the other changes, that speeds it up.",
        source="§4.2.1, Fig. 3; readers",
        metric="ratio of steps to Inception's maximum test accuracy, BN-x5 over itself without BN at the best of three "
        "rates on validation",
        unit="ratio",
        network="small Inception",
        rule=RULE,
        paper="BN-x5 differs from Inception in BN and seven changes at once; the changes alone are not tried",
        deviation=PROTOCOL + READ_FROM,
        figure="plain_with_changes_accuracy",
        numbers=plain_with_changes,
    ),
)


def figures(results: Results) -> dict[str, Figure]:
    """Median and range of the seeds: Inception, the other changes without BN at three rates, and BN-x5."""
    tables, reference = tables_of(results, NAME), reference_of(results)
    figure, [[axes]] = style.canvas(style.PAGE, 3.2)
    own, theirs = (stats.curve(each.metrics, "test", "accuracy") for each in (tables, reference))
    parts = [
        (reference, theirs, BASELINE, "--", "Inception"),
        *((tables, own, arm, ":", f"Inception with the other changes, {rate}") for arm, rate in ARMS.items()),
        (reference, theirs, X5, "-", "BN-x5: the same changes, and BN"),
    ]
    for source, curves, arm, line, label in parts:
        runs = style.runs_of(source, arm)
        if not runs:
            continue
        lost = int((source.runs.loc[source.runs["arm"] == arm, "status"] == "diverged").sum())
        label += f" ({lost} of {len(runs)} diverged)" if lost else ""
        style.band(axes, style.curves_of(curves, source, arm), arm, label, line)
    tops = style.curves_of(theirs, reference, BASELINE).max()
    style.mark(axes, float(tops.mean()), "best of\nInception, mean")
    axes.set(xlabel="training steps", ylabel="test accuracy", xlim=(0, max(own.index.max(), theirs.index.max())))
    style.thousands(axes)
    style.legend_below(figure, axes, 2)
    figure.suptitle(style.range_note(tables))
    return {"plain_with_changes_accuracy": figure}


DECLARED = Experiment(NAME, 96, CLAIMS, figures, any_normaliser=False, arms=tuple(ARMS))
