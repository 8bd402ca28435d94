"""§3.2: a bias before the normalisation."""

from __future__ import annotations

import pandas as pd

from bnrepro.claims.base import (
    BASELINE,
    Claim,
    Estimate,
    Experiment,
    Judgement,
    exact,
    exact_verdict,
    measured,
)
from bnrepro.pictures import bias_redundant as pictures

NAME = "bias_redundant"
TOLERANCE = 1e-10


@measured(NAME)
def bias_redundant(frame: pd.DataFrame) -> Judgement:
    worst = float(frame.loc[frame["norm"] == "batch", "size"].max(skipna=False))
    estimates = [Estimate("largest relative effect or gradient of the bias", "batch", exact(worst), True, "number")]
    for (layer, quantity, norm), rows in frame.groupby(["layer", "quantity", "norm"], sort=False):
        if norm == "batch" or quantity == "change of the output":
            largest = float(rows["size"].max(skipna=False))
            estimates.append(Estimate(f"{layer}: {quantity}", str(norm), exact(largest), unit="number"))
    notes = [
        f"gradients are relative to those of the same layer without BN, which are therefore 1 in the arm {BASELINE}",
        "what is left is rounding: it grows with the bias, whose digits displace those of the input",
    ]
    return Judgement(exact_verdict(worst, TOLERANCE), estimates, notes)


CLAIMS = (
    Claim(
        slug="bias_redundant",
        group="B",
        sentence="A bias in the layer before BN changes nothing and is not trained, since the mean that is subtracted "
        "contains it; β takes its place.",
        source="§3.2",
        experiment=NAME,
        metric="largest relative change of the output, and relative gradient of the bias, biases from 1e-3 to 1e3, "
        "linear and convolution, float64",
        rule="both at most 1e-10",
        margin=TOLERANCE,
        paper="the bias is dropped",
        deviation="none",
        figure="bias_redundant_bias",
        judge=bias_redundant,
    ),
)

DECLARED = Experiment(NAME, CLAIMS, pictures.figures, exam=False)
