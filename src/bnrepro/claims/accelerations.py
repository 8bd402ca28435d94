"""§4.2.1: whether each of the other changes helps, once there is Batch Normalization."""

from __future__ import annotations

import pandas as pd

from bnrepro import stats
from bnrepro.claims.base import (
    Claim,
    Estimate,
    Experiment,
    Judgement,
    Results,
    not_run,
    pair_by_seed,
    unless_lost,
)
from bnrepro.claims.inception_training import EXPERIMENT as REFERENCE
from bnrepro.claims.inception_training import PROTOCOL, READ_FROM
from bnrepro.pictures import accelerations as pictures
from bnrepro.pictures.accelerations import CHANGES, WHOLE

EXPERIMENT = "accelerations"


def accelerations(results: Results) -> Judgement:
    tables, reference = results.tables(EXPERIMENT), results.tables(REFERENCE)
    if tables is None:
        return not_run(EXPERIMENT)
    if reference is None or WHOLE not in set(reference.runs["arm"]):
        return not_run(f"{REFERENCE},{EXPERIMENT}", f"the arm {WHOLE} of {REFERENCE} has not been run")
    tops = pd.concat([stats.curve(each.metrics, "test", "accuracy").max() for each in (reference, tables)])
    gains, notes, estimates = {}, [], []
    for arm, change in CHANGES.items():
        pairs = pair_by_seed(reference.runs, arm, tables.runs, baseline=WHOLE)
        notes += pairs.notes
        if not len(pairs):
            notes.append(f"{change}: no seed finished with and without it")
            continue
        gains[change] = pd.Series(pairs.without(tops) - pairs.treated(tops), index=pairs.frame.index)
        gain = stats.paired_difference(gains[change].to_numpy())
        estimates.append(Estimate(f"gain in maximum test accuracy by {change}", WHOLE, gain, unit="difference"))
    missing = len(CHANGES) - len(gains)
    seeds = pd.DataFrame(gains).dropna()
    if seeds.empty:
        return not_run(EXPERIMENT, "no seed finished with all changes and with one of them undone")
    mean = stats.paired_difference(seeds.mean(axis=1).to_numpy())
    label = f"gain in maximum test accuracy, mean of {len(gains)} changes"
    estimates.insert(0, Estimate(label, WHOLE, mean, True, "difference"))
    if missing:
        notes.append(f"{missing} of {len(CHANGES)} changes have no such seed: the mean is over the others")
    found = stats.verdict(mean, zero=0, margin=0, claimed="above")
    means = [each.interval for each in estimates if not each.primary and each.interval.n > 1]
    if means:
        notes.append(
            f"of {len(means)} changes {sum(each.low > 0 for each in means)} have their whole interval above zero, "
            f"{sum(each.high < 0 for each in means)} below it"
        )
    lost = int((reference.runs.loc[reference.runs["arm"] == WHOLE, "status"] == "diverged").sum())
    return Judgement(unless_lost(found, missing + lost), estimates, list(dict.fromkeys(notes)), seeds)


CLAIMS = (
    Claim(
        slug="accelerations",
        group="A",
        sentence="Once there is Batch Normalization, the paper's other changes help, on average.",
        source="§4.2.1",
        experiment=EXPERIMENT,
        metric="gain in maximum test accuracy of BN-x30 over itself with one change undone, mean of the changes",
        rule="mean above 0",
        margin=0.0,
        paper="about one point by better shuffling; dropout and local response normalisation are said to be needed no "
        "longer, the others to help, without numbers",
        deviation=PROTOCOL
        + READ_FROM
        + "; the size of each change is an assumption where the paper gives only its direction",
        figure="accelerations_gain",
        judge=accelerations,
    ),
)

DECLARED = Experiment(EXPERIMENT, CLAIMS, pictures.figures, exam=False)
