"""Algorithm 1: mean and variance of the normalised features, and of what readers normalise instead."""

from __future__ import annotations

import pandas as pd

from bnrepro.claims.base import Claim, Estimate, Experiment, Judgement, exact, exact_verdict, measured
from bnrepro.pictures import normalized_activations as pictures

NAME = "normalized_activations"
TOLERANCE = 1e-6
PAPER, SCALAR, SCALAR_NO_EPSILON = "per feature", "whole tensor", "whole tensor, no ε"


def _largest(rows: pd.DataFrame, column: str) -> float:
    """Largest absolute value; NaN, which no tolerance admits, if one of them is."""
    return float(rows[column].abs().max(skipna=False))


@measured(NAME)
def normalized_activations(frame: pd.DataFrame) -> Judgement:
    features, whole = frame[frame["feature"] != "all"], frame[frame["feature"] == "all"]
    paper = features[features["layer"] == PAPER]
    mean, variance = _largest(paper, "mean"), _largest(paper, "variance_error")
    worst = variance if variance != variance or variance > mean else mean
    scalar = features[(features["layer"] == SCALAR) & (features["case"] != "constant")]
    constant = features[features["case"] == "constant"].groupby("layer")["finite"].mean()
    example = whole[whole["case"] == "3x10"].set_index("layer")["std"]
    estimates = [
        Estimate("largest error of a feature's mean or variance", PAPER, exact(worst), True, "number"),
        Estimate("largest |mean| of a feature", PAPER, exact(mean), unit="number"),
        Estimate("largest error of a feature's variance", PAPER, exact(variance), unit="number"),
        Estimate("largest |mean| of a feature", SCALAR, exact(_largest(scalar, "mean")), unit="number"),
        Estimate(
            "largest error of a feature's variance", SCALAR, exact(_largest(scalar, "variance_error")), unit="number"
        ),
        *(
            Estimate("finite outputs on a constant input", layer, exact(float(constant[layer])), unit="share")
            for layer in (PAPER, SCALAR, SCALAR_NO_EPSILON)
        ),
        Estimate("output.std() of the readers' 3×10 example", PAPER, exact(float(example[PAPER])), unit="number"),
    ]
    notes = [
        "over the entire tensor the whole-tensor form does have mean 0 and variance 1; its features have not",
        f"output.std() of 30 values with variance 1 is not 1 but √(30/29) = {(30 / 29) ** 0.5:.4g}: it divides by "
        "n − 1 where Algorithm 1 divides by n",
    ]
    return Judgement(exact_verdict(worst, TOLERANCE), estimates, notes)


CLAIMS = (
    Claim(
        slug="normalized_activations",
        group="B",
        sentence="Each feature leaves the normalisation with mean 0 and variance σ²/(σ²+ε) over the mini-batch, "
        "whatever its own mean and variance σ² were.",
        source="Algorithm 1, §3",
        experiment=NAME,
        metric="largest |mean| and |variance − σ²/(σ²+ε)| of a feature, σ² from 1e-8 to 100, and 0, float64",
        rule="error at most 1e-6",
        margin=TOLERANCE,
        paper="mean 0, variance 1 where ε is neglected",
        deviation="ε = 1e-5 is not neglected: a feature whose variance is below it leaves with less than 1",
        figure="normalized_activations_features",
        judge=normalized_activations,
    ),
)

DECLARED = Experiment(NAME, CLAIMS, pictures.figures, exam=False)
