"""Readers, after Santurkar et al. 2018: is the loss smoother along the step that training takes?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from bnrepro import stats
from bnrepro.claims.base import (
    Claim,
    Estimate,
    Experiment,
    Judgement,
    Pairs,
    Results,
    not_run,
    pair_by_seed,
    paired,
    unless_lost,
)
from bnrepro.claims.probed import geometric_means, points_below, quarter, ratio, with_values
from bnrepro.pictures import landscape as pictures
from bnrepro.stats import Interval
from bnrepro.tables import Tables

EXPERIMENT, INCEPTION, PROBE = "landscape", "landscape_inception", "landscape"
BESIDE = {
    "largest change of the gradient": "change_high",
    "mean change of the gradient": "change_mean",
    "effective β-smoothness": "smoothness",
    "norm of the gradient": "gradient",
}


@paired(EXPERIMENT, probe=PROBE)
def smoother_landscape(results: Results, tables: Tables, pairs: Pairs) -> Judgement:
    seen, arm = tables.probes[PROBE], results.treatment
    ranges = geometric_means(seen, "loss_range")
    complete = with_values(pairs, ranges)
    if not len(complete):
        return not_run(EXPERIMENT, f"no seed has a loss range above 0 at every point with both none and {arm}")
    primary = complete.ratio(ranges)
    estimates = [Estimate("ratio of the loss range", arm, primary, True)]
    for name, rows in (("first", quarter(seen)), ("last", quarter(seen, last=True))):
        if (part := ratio(complete, rows, "loss_range")) is not None:
            estimates.append(Estimate(f"ratio of the loss range, {name} quarter of the steps", arm, part))
    for name, column in BESIDE.items():
        if (found := ratio(complete, seen, column)) is not None:
            estimates.append(Estimate(f"ratio of the {name}", arm, found))
    estimates += complete.each("loss range (nats)", ranges, arm, "number")
    below, points = points_below(complete, seen, "loss_range")
    notes = [
        *complete.notes,
        f"With {arm} the loss range is the smaller one at {below} of {points} points of training (geometric mean of "
        "the seeds).",
    ]
    if (slopes := ratio(complete, seen, "gradient")) is not None:
        notes.append(
            "To first order the loss changes along the gradient by its squared norm for every unit of the rate: the "
            f"size of the gradients alone would give a ratio of {slopes.value**2:.3g}. " + _curved(complete, seen)
        )
    beside = _inception(results)
    measures = ["loss range", *BESIDE]
    for network, among in (("the network of §4.1", estimates), ("the small Inception", beside)):
        suffix = "" if among is estimates else f", {network}"
        by_name = {each.name: each.interval for each in among}
        notes += _summary(
            network, arm, {m: by_name[n] for m in measures if (n := f"ratio of the {m}{suffix}") in by_name}
        )
    estimates += beside
    found = stats.verdict(primary, zero=1, margin=1, claimed="below")
    return Judgement(
        unless_lost(found, complete.treatment_diverged), estimates, notes, complete.listed(ranges, "ratio")
    )


def _summary(network: str, arm: str, ratios: dict[str, Interval]) -> list[str]:
    """Of which measures the whole interval lies below 1, above it, or neither."""
    sides = {
        "Smaller": [name for name, each in ratios.items() if each.high < 1],
        "Larger": [name for name, each in ratios.items() if each.low > 1],
        "No difference seen": [name for name, each in ratios.items() if not (each.high < 1 or each.low > 1)],
    }
    told = [f"{side}: {', '.join(names)}." for side, names in sides.items() if names]
    return [f"On {network}, with {arm}. {' '.join(told)}"] if told else []


def _curved(pairs: Pairs, seen: pd.DataFrame) -> str:
    """How far from first order the steps are: the rate times the effective smoothness, both arms."""
    reach = geometric_means(seen.assign(reach=seen["rate"] * seen["smoothness"]), "reach")
    without, treated = (np.exp(np.log(arm).mean()) for arm in (pairs.without(reach), pairs.treated(reach)))
    return (
        f"The rate times the effective β is {without:.3g} without and {treated:.3g} with: on a quadratic, a step of "
        "one rate can pass the bottom only if that is above 1, and end higher than it began only if it is above 2."
    )


def _inception(results: Results) -> list[Estimate]:
    """The same ratios on the small Inception, where it has been run."""
    tables = results.tables(INCEPTION)
    if tables is None or PROBE not in tables.probes:
        return []
    pairs = pair_by_seed(tables.runs, results.treatment)
    found = []
    for name, column in {"loss range": "loss_range", **BESIDE}.items():
        interval = ratio(pairs, tables.probes[PROBE], column) if len(pairs) else None
        if interval is not None:
            found.append(Estimate(f"ratio of the {name}, the small Inception", results.treatment, interval))
    return found


CLAIMS = (
    Claim(
        slug="smoother_landscape",
        group="D",
        sentence="With Batch Normalization the loss varies less along the step that training takes.",
        source="readers; Santurkar et al. 2018, Fig. 4",
        experiment=EXPERIMENT,
        metric="ratio, with BN over without, of the range of the loss over steps of 1/2 to 4 learning rates along the "
        "negative gradient, geometric mean of 20 points of training",
        rule="ratio below 1",
        margin=1.0,
        paper="not in the paper; the follow-up shows it for VGG on CIFAR-10, without a number",
        deviation="the network of §4.1 for 10,000 steps at the learning rate and initialisation that are best without "
        "BN; seven step lengths, the start not among them; beside it a small Inception on 32×32 images for two epochs",
        figure="landscape_ranges",
        judge=smoother_landscape,
    ),
)

DECLARED = Experiment(EXPERIMENT, CLAIMS, lambda results: pictures.figures(results, EXPERIMENT))
