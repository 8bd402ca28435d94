"""§4.2.1: whether each of the paper's other changes helps once there is Batch Normalization."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bnrepro import stats
from bnrepro.claims import style
from bnrepro.claims.claim import Claim, Evidence, Experiment, NotRun, tables_of
from bnrepro.claims.inception_training import NAME as REFERENCE
from bnrepro.claims.inception_training import PROTOCOL, READ_FROM
from bnrepro.claims.inception_training import X30 as WHOLE
from bnrepro.stats import CONTRADICTED, SUPPORTED, Above, Estimate, pair_by_seed
from bnrepro.tables import Results, Tables

NAME = "accelerations"
RULE = Above(0.0)
CHANGES = {
    "x30_rate": "a learning rate 30 times as high",
    "x30_dropout": "no dropout",
    "x30_l2": "an L2 penalty a fifth as large",
    "x30_decay": "a decay six times as fast",
    "x30_lrn": "no local response normalisation",
    "x30_batches": "examples that meet afresh",
    "x30_distortions": "fewer photometric distortions",
}
"""Arm → the change it undoes."""


def accelerations(results: Results) -> Evidence:
    tables, reference = tables_of(results, NAME), results.tables(REFERENCE)
    if reference is None or WHOLE not in set(reference.runs["arm"]):
        raise NotRun(f"{REFERENCE},{NAME}", f"the arm {WHOLE} of {REFERENCE} has not been run")
    gains, notes = _gains(tables, reference)
    seeds = pd.DataFrame({CHANGES[arm]: gain for arm, gain in gains.items()}).dropna()
    if seeds.empty:
        raise NotRun(NAME, "no seed finished with all changes and with one of them undone")
    each = {CHANGES[arm]: stats.paired_difference(gain) for arm, gain in gains.items()}
    mean = stats.paired_difference(seeds.mean(axis=1))
    estimates = [
        Estimate(f"gain in maximum test accuracy, mean of {len(gains)} changes", WHOLE, mean, True, "difference"),
        *(
            Estimate(f"gain in maximum test accuracy by {it}", WHOLE, gain, unit="difference")
            for it, gain in each.items()
        ),
    ]
    missing = len(CHANGES) - len(gains)
    if missing:
        notes.append(f"{missing} of {len(CHANGES)} changes have no such seed: the mean is over the others")
    told = [RULE.verdict(gain) for gain in each.values() if gain.n > 1]
    if told:
        notes.append(
            f"of {len(told)} changes {told.count(SUPPORTED)} have their whole interval above zero, "
            f"{told.count(CONTRADICTED)} below it"
        )
    diverged = int((reference.runs.loc[reference.runs["arm"] == WHOLE, "status"] == "diverged").sum())
    # The notes on the runs with all changes come with the pairs of every change: each is kept once.
    return Evidence(estimates, list(dict.fromkeys(notes)), seeds, missing + diverged)


def _gains(tables: Tables, reference: Tables) -> tuple[dict[str, pd.Series], list[str]]:
    """By arm, each seed's gain in maximum test accuracy from the change that the arm undoes; and notes."""
    tops = pd.concat([stats.curve(each.metrics, "test", "accuracy").max() for each in (reference, tables)])
    gains, notes = {}, []
    for arm, change in CHANGES.items():
        pairs = pair_by_seed(reference.runs, arm, tables.runs, baseline=WHOLE)
        notes += pairs.notes
        if len(pairs):
            gains[arm] = pd.Series(pairs.without(tops) - pairs.treated(tops), index=pairs.frame.index)
        else:
            notes.append(f"{change}: no seed finished with and without it")
    return gains, notes


CLAIMS = (
    Claim(
        slug="accelerations",
        group="A",
        origin="paper",
        sentence="Once there is Batch Normalization, the paper's other changes help, on average.",
        source="§4.2.1",
        metric="gain in maximum test accuracy of BN-x30 over itself with one change undone, mean of the changes",
        unit="difference",
        rule=RULE,
        paper="about one point by better shuffling; dropout and local response normalisation are said to be needed no "
        "longer, the others to help, without numbers",
        deviation=PROTOCOL
        + READ_FROM
        + "; the size of each change is an assumption where the paper gives only its direction",
        figure="accelerations_gain",
        numbers=accelerations,
    ),
)


def figures(results: Results) -> dict[str, Figure]:
    """One row per change: every seed's gain as a dot, and their mean with its interval."""
    tables, reference = tables_of(results, NAME), tables_of(results, REFERENCE)
    figure, [[axes]] = style.canvas(style.PAGE, 2.8)
    gains, _ = _gains(tables, reference)
    shade = style.colour(WHOLE)
    for height, arm in enumerate(reversed(CHANGES)):
        if arm not in gains:
            continue
        points = 100 * gains[arm].to_numpy()
        mean = stats.paired_difference(points)
        axes.plot(points, np.full(len(points), height), "o", color="0.7", markersize=3, label="a seed")
        axes.plot([mean.low, mean.high], [height, height], color=shade)
        label = "mean with its 95% interval" if len(points) > 1 else None
        axes.plot(mean.value, height, "o", color=shade, markersize=4, label=label)
    axes.axvline(100 * RULE.margin, **style.GUIDE)
    axes.set_yticks(range(len(CHANGES)), list(reversed(CHANGES.values())))
    axes.set(xlabel="gain in maximum test accuracy, points")
    style.legend_below(figure, axes, 2)
    figure.suptitle(f"{tables.data_label}; {style.count(tables.runs['seed'].nunique(), 'seed')}")
    return {"accelerations_gain": figure}


DECLARED = Experiment(NAME, 100, CLAIMS, figures, any_normaliser=False, arms=tuple(CHANGES))
