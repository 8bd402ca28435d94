"""Readers: small mini-batches hurt Batch Normalization, and not group normalisation."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from bnrepro.claims import style, sweeps
from bnrepro.claims.claim import Claim, Evidence, Experiment, Inapplicable, NotRun, tables_of
from bnrepro.stats import BASELINE, Above, Estimate, paired_difference
from bnrepro.stats.selection import RATE, best_by, ends
from bnrepro.tables import Results, Tables

NAME, SIZE, RIVAL = "batch_size", "batch_size", "group"


def tiny_batches(results: Results) -> Evidence:
    tables = tables_of(results, NAME)
    if results.treatment == RIVAL:
        raise Inapplicable(f"the claim sets a normaliser against {RIVAL}, which is the treatment itself")
    if not {results.treatment, RIVAL} <= set(tables.runs["arm"]):
        raise NotRun(NAME, f"the arms {results.treatment} and {RIVAL} were not both run")
    runs, notes = at_best_rates(tables)
    accuracy = runs.pivot(index="seed", columns=["arm", SIZE], values="end")
    arms = [arm for arm in (BASELINE, results.treatment, RIVAL) if arm in accuracy.columns.get_level_values("arm")]
    if lost := [arm for arm in (results.treatment, RIVAL) if arm not in arms]:
        raise Inapplicable(f"{' and '.join(lost)}: at every batch size a seed diverged at every learning rate")
    sizes = sorted(set.intersection(*(set(accuracy[arm].columns) for arm in arms)))
    complete = accuracy[[(arm, size) for arm in arms for size in sizes]].dropna()
    if len(sizes) < 2 or complete.empty:
        raise NotRun(NAME, "no seed has all arms at two or more batch sizes")
    slopes = pd.DataFrame(
        {arm: slope(complete[[(arm, size) for size in sizes]], sizes) for arm in arms}, index=complete.index
    )
    difference = slopes[results.treatment] - slopes[RIVAL]
    unit = "accuracy for every tenfold batch"
    gain = paired_difference(difference)
    estimates = [
        Estimate(f"{unit}, with BN minus group norm", results.treatment, gain, True, "difference"),
        *(Estimate(unit, arm, paired_difference(slopes[arm]), unit="difference") for arm in arms),
    ]
    for size in sizes:
        for arm in arms:
            end = paired_difference(complete[arm][size])
            estimates.append(Estimate(f"final test accuracy at {size:g} examples a batch", arm, end, unit="share"))
    return Evidence(estimates, notes, slopes.assign(difference=difference))


def at_best_rates(tables: Tables) -> tuple[pd.DataFrame, list[str]]:
    """The runs at the best learning rate on validation for their arm and batch size, and notes on what is left out.

    Each run has its final test accuracy as ``end``.
    """
    validation, test = ends(tables, "validation"), ends(tables)
    chosen, notes = [], []
    for (arm, size), group in validation.groupby(["arm", SIZE]):
        best = best_by(group, RATE)
        if best is None:
            notes.append(f"{arm}, {size} examples a batch: a seed diverged at every rate; left out")
        else:
            chosen += list(group.index[group[RATE] == best])
    return test.loc[chosen], notes


def slope(accuracy: pd.DataFrame, sizes: list[int]) -> np.ndarray:
    """Least-squares slope (seeds,) of accuracy (seeds × batch sizes) against log10 of the batch size."""
    return np.polyfit(np.log10(sizes), accuracy.to_numpy().T, 1)[0]


CLAIMS = (
    Claim(
        slug="tiny_batches",
        group="C",
        origin="readers",
        sentence="Batch Normalization gets worse as the mini-batch shrinks; group normalisation does not.",
        source="readers; Wu & He 2018",
        metric="slope of final test accuracy against log10 of the batch size, with BN minus with group norm",
        unit="difference",
        network="MLP of §4.1",
        rule=Above(0.0),
        paper="not in the paper; readers call a batch of one impossible and a small one bad",
        deviation="the network of §4.1 on 120,000 examples of binary MNIST, 2 to 256 a batch; group norm with 10 "
        "groups; a batch of one is refused with Batch Normalization, whose variance it leaves undefined",
        figure="batch_size_accuracy",
        numbers=tiny_batches,
    ),
)


def figures(results: Results) -> dict[str, Figure]:
    """Final test accuracy against the batch size: one line per arm, at its best learning rate for each size."""
    tables = tables_of(results, NAME)
    runs, _ = at_best_rates(tables)
    sizes = sorted(pd.unique(tables.runs[SIZE]))
    figure, [[axes]] = style.canvas(style.PAGE, 2.8)
    axes.set(xscale="log", xlabel="examples in a mini-batch", ylabel="final test accuracy")
    sweeps.ends_against([axes], [runs], SIZE, style.arms_of(tables, results.treatment))
    axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    style.legend_below(figure, axes, 4)
    figure.suptitle(style.seeds_note(tables))
    return {"batch_size_accuracy": figure}


DECLARED = Experiment(NAME, 250, CLAIMS, figures, arms=(RIVAL,), draws_all=True)
