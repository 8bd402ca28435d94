"""Readers' limit: small mini-batches, which Batch Normalization minds and group normalisation does not."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bnrepro import stats
from bnrepro.claims.base import BASELINE, Claim, Estimate, Experiment, Judgement, Results, not_run
from bnrepro.pictures import batch_size as pictures
from bnrepro.stats import Interval
from bnrepro.stats.selection import RATE, best_by, ends
from bnrepro.tables import Tables

EXPERIMENT, SIZE, RIVAL = "batch_size", "batch_size", "group"


def tiny_batches(results: Results) -> Judgement:
    tables = results.tables(EXPERIMENT)
    if tables is None:
        return not_run(EXPERIMENT)
    if results.treatment == RIVAL:
        return not_run(EXPERIMENT, f"the claim sets a normaliser against {RIVAL}, which is the treatment itself")
    accuracy, notes = at_best_rates(tables)
    arms = [arm for arm in (BASELINE, results.treatment, RIVAL) if arm in accuracy.columns.get_level_values("arm")]
    if not {results.treatment, RIVAL} <= set(arms):
        return not_run(EXPERIMENT, f"the arms {results.treatment} and {RIVAL} were not both run")
    sizes = sorted(set.intersection(*(set(accuracy[arm].columns) for arm in arms)))
    complete = accuracy[[(arm, size) for arm in arms for size in sizes]].dropna()
    if len(sizes) < 2 or complete.empty:
        return not_run(EXPERIMENT, "no seed has all arms at two or more batch sizes")
    slopes = {arm: slope(complete[[(arm, size) for size in sizes]], sizes) for arm in arms}
    difference = stats.paired_difference(slopes[results.treatment] - slopes[RIVAL])
    unit = "accuracy for every tenfold batch"
    estimates = [
        Estimate(f"{unit}, with BN minus group norm", results.treatment, difference, True, "difference"),
        *(Estimate(unit, arm, stats.paired_difference(slopes[arm]), unit="difference") for arm in arms),
        *(
            Estimate(f"final test accuracy at {size:g} examples a batch", arm, _mean(complete[arm][size]), unit="share")
            for size in sizes
            for arm in arms
        ),
    ]
    rows = pd.DataFrame({arm: slopes[arm] for arm in arms}, index=complete.index)
    rows = rows.assign(difference=rows[results.treatment] - rows[RIVAL])
    found = stats.verdict(difference, zero=0, margin=0, claimed="above")
    return Judgement(found, estimates, notes, rows)


def at_best_rates(tables: Tables) -> tuple[pd.DataFrame, list[str]]:
    """Final test accuracy, seeds (rows) × (arm, batch size), each at its best learning rate on validation; and what
    has to be said of these rates."""
    validation, test = ends(tables, "validation"), ends(tables)
    columns, notes = {}, []
    for (arm, size), group in validation.groupby(["arm", SIZE]):
        best = best_by(group, RATE)
        if best is None:
            notes.append(f"{arm}, {size} examples a batch: a seed diverged at every rate; left out")
            continue
        chosen = test.loc[group.index]
        columns[(arm, size)] = chosen[chosen[RATE] == best].set_index("seed")["end"]
    frame = pd.DataFrame(columns)
    frame.columns = pd.MultiIndex.from_tuples(list(columns), names=["arm", SIZE])
    return frame, notes


def slope(accuracy: pd.DataFrame, sizes: list[int]) -> np.ndarray:
    """Least-squares slope (seeds,) of accuracy (seeds × batch sizes) against log10 of the batch size."""
    return np.polyfit(np.log10(sizes), accuracy.to_numpy().T, 1)[0]


def _mean(values: pd.Series) -> Interval:
    return stats.paired_difference(values.to_numpy())


CLAIMS = (
    Claim(
        slug="tiny_batches",
        group="C",
        sentence="Batch Normalization is the worse the smaller the mini-batch; group normalisation is not.",
        source="readers; Wu & He 2018",
        experiment=EXPERIMENT,
        metric="slope of final test accuracy against log10 of the batch size, with BN minus with group norm",
        rule="difference above 0",
        margin=0.0,
        paper="not in the paper; readers call a batch of one impossible and a small one bad",
        deviation="the network of §4.1 on 120,000 examples of binary MNIST, 2 to 256 a batch; group norm with 10 "
        "groups; a batch of one is refused with Batch Normalization, whose variance it leaves undefined",
        figure="batch_size_accuracy",
        judge=tiny_batches,
    ),
)

DECLARED = Experiment(EXPERIMENT, CLAIMS, pictures.figures)
