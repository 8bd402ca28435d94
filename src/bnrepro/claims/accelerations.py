"""§4.2.1: what each of the paper's other changes does once there is Batch Normalization."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnrepro import stats
from bnrepro.claims import style
from bnrepro.claims.claim import Claim, Evidence, Experiment, NotRun, tables_of
from bnrepro.claims.inception_training import NAME as REFERENCE
from bnrepro.claims.inception_training import PROTOCOL, READ_FROM
from bnrepro.claims.inception_training import X5 as WHOLE
from bnrepro.stats import CONTRADICTED, SUPPORTED, Above, Estimate, Interval, pair_by_seed
from bnrepro.tables import Results, Tables

NAME = "accelerations"
HELPS = Above(0.0)
HARMLESS = Above(-0.01)
"""What is dispensable costs less than a point: the size of the one effect that the paper puts a number on."""
HELPFUL = {
    "x5_rate": "a learning rate 5 times as high",
    "x5_l2": "an L2 penalty a fifth as large",
    "x5_decay": "a decay six times as fast",
    "x5_batches": "better shuffling",
    "x5_distortions": "fewer photometric distortions",
}
"""Arm → the change that it undoes, of those that the paper says to help."""
DISPENSED = {"x5_dropout": "no dropout", "x5_lrn": "no local response normalisation"}
"""Arm → the change that it undoes, of those that leave out what the paper says BN makes unnecessary."""
CHANGES = HELPFUL | DISPENSED
CHANGED = (
    "posed anew after the first runs: these undid the changes of BN-x30, whose rate is past its best here, for three "
    "seeds, and asked of all seven changes that they help on average; the paper calls two of them dispensable"
)


def accelerations(results: Results) -> Evidence:
    """The mean gain of the changes that are said to help decides."""
    gains, notes, diverged = gains_of(*compared(results), HELPFUL)
    seeds = pd.DataFrame({HELPFUL[arm]: gain for arm, gain in gains.items()}).dropna()
    if seeds.empty:
        raise NotRun(NAME, "no seed finished with all changes and with one of them undone")
    mean = stats.paired_difference(seeds.mean(axis=1))
    label = f"gain in maximum test accuracy, mean of {len(gains)} changes"
    each = _each(gains)
    told = [HELPS.verdict(found.interval) for found in each if found.interval.n > 1]
    if told:
        notes.append(
            f"of {len(told)} changes {told.count(SUPPORTED)} have their whole interval above zero, "
            f"{told.count(CONTRADICTED)} below it"
        )
    missing = len(HELPFUL) - len(gains)
    if missing:
        notes.append(f"{missing} of {len(HELPFUL)} changes have no such seed: the mean is over the others")
    estimates = [Estimate(label, WHOLE, mean, True, "difference"), *each]
    return Evidence(estimates, [*notes, CHANGED], seeds, missing + diverged)


def dispensable(results: Results) -> Evidence:
    """The change whose interval reaches lowest decides: both must cost less than the margin."""
    gains, notes, diverged = gains_of(*compared(results), DISPENSED)
    seeds = pd.DataFrame({DISPENSED[arm]: gain for arm, gain in gains.items()}).dropna()
    if seeds.empty:
        raise NotRun(NAME, "no seed finished with all changes and with one of them undone")
    each = sorted(_each(gains), key=lambda found: _lowest(found.interval))
    missing = len(DISPENSED) - len(gains)
    if missing:
        notes.append(f"{missing} of {len(DISPENSED)} changes have no such seed")
    estimates = [replace(found, primary=not place) for place, found in enumerate(each)]
    return Evidence(estimates, [*notes, CHANGED], seeds, missing + diverged)


def _each(gains: dict[str, pd.Series]) -> list[Estimate]:
    return [
        Estimate(
            f"gain in maximum test accuracy by {CHANGES[arm]}", WHOLE, stats.paired_difference(gain), unit="difference"
        )
        for arm, gain in gains.items()
    ]


def _lowest(interval: Interval) -> float:
    """Where an interval reaches down to: with one seed, its value."""
    return interval.low if interval.n > 1 else interval.value


def compared(results: Results) -> tuple[Tables, Tables]:
    """The tables of the changes undone, and those with the runs of BN-x5. Raises :class:`NotRun`."""
    tables, reference = tables_of(results, NAME), results.tables(REFERENCE)
    if reference is None or WHOLE not in set(reference.runs["arm"]):
        raise NotRun(f"{REFERENCE},{NAME}", f"the arm {WHOLE} of {REFERENCE} has not been run")
    return tables, reference


def gains_of(
    tables: Tables, reference: Tables, changes: Mapping[str, str]
) -> tuple[dict[str, pd.Series], list[str], int]:
    """By arm, each seed's gain in maximum test accuracy from the change that it undoes; notes; runs of BN-x5 lost."""
    tops = pd.concat([stats.curve(each.metrics, "test", "accuracy").max() for each in (reference, tables)])
    gains, notes = {}, []
    for arm, change in changes.items():
        pairs = pair_by_seed(reference.runs, arm, tables.runs, baseline=WHOLE)
        notes += pairs.notes
        if len(pairs):
            gains[arm] = pd.Series(pairs.without(tops) - pairs.treated(tops), index=pairs.frame.index)
        else:
            notes.append(f"{change}: no seed finished with and without it")
    diverged = int((reference.runs.loc[reference.runs["arm"] == WHOLE, "status"] == "diverged").sum())
    # The notes on the runs with all changes come with the pairs of every change: each is kept once.
    return gains, list(dict.fromkeys(notes)), diverged


SIZES = "; the size of each change is an assumption where the paper gives only its direction"
CLAIMS = (
    Claim(
        slug="accelerations",
        group="A",
        origin="paper",
        sentence="Once Batch Normalization is in place, the paper's other changes help on average, apart from "
        "the two that remove what it makes unnecessary.",
        source="§4.2.1",
        metric="gain in maximum test accuracy of BN-x5 over itself with one change undone, mean of five changes",
        unit="difference",
        network="small Inception",
        rule=HELPS,
        paper="about one point by better shuffling; the others are said to help, without numbers",
        deviation=PROTOCOL + READ_FROM + SIZES,
        figure="accelerations_gain",
        numbers=accelerations,
    ),
    Claim(
        slug="dispensable",
        group="A",
        origin="paper",
        sentence="Once Batch Normalization is in place, neither dropout nor local response normalisation is needed.",
        source="§4.2.1, §3.4",
        metric="gain in maximum test accuracy by leaving it out of BN-x5, the lower of the two",
        unit="difference",
        network="small Inception",
        rule=HARMLESS,
        paper="dropout and local response normalisation are said to be needed no longer, without a number",
        deviation=PROTOCOL + READ_FROM + SIZES,
        figure="accelerations_gain",
        numbers=dispensable,
    ),
)


def figures(results: Results) -> dict[str, Figure]:
    """One row per change, the helpful above the dispensable: every seed's gain, and their mean with its interval."""
    tables, reference = compared(results)
    gains, _, _ = gains_of(tables, reference, CHANGES)
    if not gains:
        raise NotRun(NAME, "no seed finished with all changes and with one of them undone")
    figure, panels = style.canvas(
        style.PAGE, 3.2, 2, 1, sharex=True, gridspec_kw={"height_ratios": (len(HELPFUL), len(DISPENSED))}
    )
    groups = (
        ("said to help: the mean of all is to lie above 0", HELPFUL, HELPS),
        ("said to be needed no longer: each is to lie above −1", DISPENSED, HARMLESS),
    )
    for axes, (title, changes, rule) in zip(panels[:, 0], groups, strict=True):
        for height, arm in enumerate(changes):
            if arm in gains:
                _row(axes, height, 100 * gains[arm].to_numpy())
        axes.axvline(100 * rule.margin, **style.GUIDE)
        axes.set_yticks(range(len(changes)), list(changes.values()))
        axes.set(ylim=(len(changes) - 0.5, -0.5))
        axes.set_title(title, loc="left")
    panels[-1, 0].set_xlabel("gain in maximum test accuracy by the change, points")
    style.legend_below(figure, panels[:, 0], 2)
    figure.suptitle(f"{tables.data_label}; {style.count(tables.runs['seed'].nunique(), 'seed')}; BN-x5")
    return {"accelerations_gain": figure}


def _row(axes: Axes, height: int, points: np.ndarray) -> None:
    shade, mean = style.colour(WHOLE), stats.paired_difference(points)
    axes.plot(points, np.full(len(points), height), "o", color="0.7", markersize=3, label="a seed")
    axes.plot([mean.low, mean.high], [height, height], color=shade)
    label = "mean with its 95% interval" if len(points) > 1 else None
    axes.plot(mean.value, height, "o", color=shade, markersize=4, label=label)


DECLARED = Experiment(NAME, 100, CLAIMS, figures, any_normaliser=False, arms=tuple(CHANGES))
