"""§3.3: the three identities under a scale of the weights."""

from __future__ import annotations

import pandas as pd

from bnrepro.claims.base import Claim, Estimate, Experiment, Judgement, exact, exact_verdict, measured
from bnrepro.pictures import scale_invariance as pictures

NAME = "scale_invariance"
TOLERANCE = 1e-8
EXACT_EPSILON = 1e-300


@measured(NAME)
def scale_invariance(frame: pd.DataFrame) -> Judgement:
    at_zero = frame[frame["epsilon"] == EXACT_EPSILON]
    worst = float(at_zero["error"].max())
    estimates = [Estimate("largest relative error at ε = 0", "float64", exact(worst), True, "number")]
    for (layer, identity), rows in at_zero.groupby(["layer", "identity"], sort=False):
        error = exact(float(rows["error"].max()))
        estimates.append(Estimate(f"{layer}: {identity}, ε = 0", "float64", error, unit="number"))
    with_epsilon = frame[frame["epsilon"] != EXACT_EPSILON]
    notes = []
    for epsilon, rows in with_epsilon.groupby("epsilon"):
        largest = rows.sort_values("error").iloc[-1]
        notes.append(
            f"with ε = {epsilon:g} the largest error is {largest['error']:.2g}, at a = {largest['scale']:g}: where the "
            "scale is small enough, ε counts"
        )
    return Judgement(exact_verdict(worst, TOLERANCE), estimates, notes)


CLAIMS = (
    Claim(
        slug="scale_invariance",
        group="B",
        sentence="A scale of the weights changes neither the output of a normalised layer nor the gradient of its "
        "input, and divides the gradient of the weights by itself.",
        source="§3.3",
        experiment=NAME,
        metric="largest relative error of the three identities, scales from 1e-3 to 1e3, ε = 0, float64",
        rule="error at most 1e-8",
        margin=TOLERANCE,
        paper="three equations",
        deviation="none; ε = 0 is a number that vanishes beside every variance (1e-300)",
        figure="scale_invariance_error",
        judge=scale_invariance,
    ),
)

DECLARED = Experiment(NAME, CLAIMS, pictures.figures, exam=False)
