"""Readers' conventions and slips, each in the place of the layer: what they cost where the network is used."""

from __future__ import annotations

import pandas as pd

from bnrepro.claims.base import Claim, Estimate, Experiment, Judgement, measured
from bnrepro.pictures import convention_traps as pictures
from bnrepro.pictures.convention_traps import METRICS, REFERENCE, differences, name
from bnrepro.stats import MEASURED, NOT_RUN, paired_difference

NAME = "convention_traps"
DECIDES, GRAPHED = "SwappedMomentum", "GraphedRunningMean"


@measured(NAME)
def convention_traps(frame: pd.DataFrame) -> Judgement:
    estimates, values = [], {}
    for metric, label in METRICS.items():
        for variant, interval in differences(frame, metric).items():
            primary = (metric, variant) == ("accuracy", DECIDES)
            estimates.append(Estimate(f"{name(variant)}; {label}", variant, interval, primary, "difference"))
    if not any(each.primary for each in estimates):
        return Judgement(NOT_RUN, notes=[f"no seed in which both {DECIDES} and the reference came to their end"])
    longest = frame[frame["steps"] == frame["steps"].max()]
    for metric, label in METRICS.items():
        rows = longest[longest["metric"] == metric].pivot(index="seed", columns="variant", values="value")
        values[metric] = rows
        reference = paired_difference(rows[REFERENCE].dropna().to_numpy())
        estimates.append(Estimate(f"test accuracy of the reference; {label}", REFERENCE, reference, unit="share"))
    notes = _of_the_graph(frame)
    for variant, rows in frame[frame["metric"] == "diverged"].groupby("variant", sort=False):
        notes.append(f"{len(rows)} of {frame['seed'].nunique()} runs diverged: {name(str(variant))}")
    if {"PlainTensorAffine", "NoAffine"} <= set(values["accuracy"]) and values["accuracy"]["PlainTensorAffine"].equals(
        values["accuracy"]["NoAffine"]
    ):
        notes.append("γ and β outside the parameters: to the digit the layer without them, since nothing trains them")
    [label] = frame["data"].unique()
    notes.append(f"{label}; {frame['steps'].max():,} steps, the network, rate and start of mnist_training")
    return Judgement(MEASURED, estimates, notes, values["accuracy"])


def _of_the_graph(frame: pd.DataFrame) -> list[str]:
    rows = frame[frame["variant"] == GRAPHED]
    if not len(rows):
        return []
    values = rows.groupby("metric")["value"].mean()
    copied = "could be copied" if values["can be copied"] == 1 else "could not be copied"
    return [
        f"{name(GRAPHED)}: after {rows['steps'].max():,} steps it held {values['graph nodes per step']:.0f} autograd "
        f"nodes for every step so far, and the network {copied}; its accuracy is compared after as many steps"
    ]


CLAIMS = (
    Claim(
        slug="convention_traps",
        group="B",
        sentence="Momentum the other way round, another variance, γ and β that nothing trains and the like cost "
        "accuracy at inference.",
        source="readers",
        experiment=NAME,
        metric="test accuracy in evaluation mode with the momentum the other way round, minus the reference's",
        rule="measured, no margin",
        margin=None,
        paper="not in the paper, which gives no momentum",
        deviation="short runs of the network of §4.1, with each variant's own defaults (momentum 0.1, ε = 1e-5)",
        figure="convention_traps_accuracy",
        judge=convention_traps,
    ),
)

DECLARED = Experiment(NAME, CLAIMS, pictures.figures, exam=False)
