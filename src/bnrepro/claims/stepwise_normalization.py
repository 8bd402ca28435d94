"""§2: why the normalisation has to be part of what is differentiated."""

from __future__ import annotations

import pandas as pd

from bnrepro.claims.base import Claim, Estimate, Experiment, Judgement, exact, exact_verdict, measured
from bnrepro.pictures import stepwise_normalization as pictures
from bnrepro.stats import CONTRADICTED, INCONCLUSIVE

NAME = "stepwise_normalization"
TOLERANCE = 1e-6
UPDATES = 1000
PAPER, BOTH, INSIDE, NONE = "mean outside", "mean and variance outside", "inside", "none"


@measured(NAME)
def stepwise_normalization(frame: pd.DataFrame) -> Judgement:
    rows = {str(name): chosen for name, chosen in frame.groupby("transform")}
    change = {name: float(chosen["change"].max(skipna=False)) for name, chosen in rows.items()}
    growth = {name: float(chosen.loc[chosen["update"] > 0, "growth"].min()) for name, chosen in rows.items()}
    updates = int(frame["update"].max())
    verdict = exact_verdict(change[PAPER], TOLERANCE)
    if not growth[PAPER] > 0:
        verdict = CONTRADICTED
    elif updates < UPDATES:
        verdict = INCONCLUSIVE
    estimates = [Estimate("largest relative change of the loss", PAPER, exact(change[PAPER]), True, "number")]
    estimates += [
        Estimate("largest relative change of the loss", name, exact(change[name]), unit="number")
        for name in (BOTH, INSIDE, NONE)
    ]
    estimates += [
        Estimate(f"|b| after {updates:,} updates", name, exact(float(rows[name]["b"].iloc[-1])), unit="number")
        for name in (PAPER, BOTH, INSIDE, NONE)
    ]
    estimates += [
        Estimate("smallest growth of |b| in an update", name, exact(growth[name]), unit="number")
        for name in (PAPER, BOTH)
    ]
    gradient = float(rows[INSIDE]["gradient"].max())
    estimates.append(Estimate("largest gradient of b", INSIDE, exact(gradient), unit="number"))
    notes = [
        "inside: the gradient runs through the statistics, finds that b changes nothing, and is zero but for rounding"
    ]
    return Judgement(verdict, estimates, notes)


CLAIMS = (
    Claim(
        slug="stepwise_normalization",
        group="B",
        sentence="If the gradient takes the statistics for constants, each update of a bias is cancelled by the "
        "normalisation after it: the bias grows without end and the loss does not change.",
        source="§2",
        experiment=NAME,
        metric="largest relative change of the loss over 2,000 updates of b alone, one mini-batch, float64",
        rule=f"at most 1e-6, while |b| grows in each of at least {UPDATES:,} updates",
        margin=TOLERANCE,
        paper="an argument, and the remark that it was observed in experiments",
        deviation="the loss (cross-entropy of the normalised values as logits) and the rate are ours; the paper "
        "names none",
        figure="stepwise_normalization_bias",
        judge=stepwise_normalization,
    ),
)

DECLARED = Experiment(NAME, CLAIMS, pictures.figures, exam=False)
