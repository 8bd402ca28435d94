"""§3: the layer can become the identity."""

from __future__ import annotations

import pandas as pd

from bnrepro.claims.base import Claim, Estimate, Experiment, Judgement, exact, exact_verdict, measured
from bnrepro.pictures import identity_recoverable as pictures

NAME = "identity_recoverable"
TOLERANCE = 1e-10


@measured(NAME)
def identity_recoverable(frame: pd.DataFrame) -> Judgement:
    paper, readers = (frame[frame["gamma"] == gamma] for gamma in ("paper", "readers"))
    worst = float(paper["error"].max(skipna=False))
    estimates = [Estimate("largest relative error, γ = √(σ²+ε)", "float64", exact(worst), True, "number")]
    for layer, rows in paper.groupby("layer", sort=False):
        error = float(rows["error"].max(skipna=False))
        estimates.append(Estimate(f"{layer}, γ = √(σ²+ε)", "float64", exact(error), unit="number"))
    for deviation, rows in readers.groupby("deviation"):
        if f"{deviation:g}" in ("0.001", "1"):
            error = float(rows["error"].max())
            estimates.append(Estimate(f"γ = σ, at σ = {deviation:g}", "float64", exact(error), unit="number"))
    notes = ["γ = σ, as readers write it, shrinks every value by σ/√(σ²+ε): no matter while σ² ≫ ε, all of it below"]
    return Judgement(exact_verdict(worst, TOLERANCE), estimates, notes)


CLAIMS = (
    Claim(
        slug="identity_recoverable",
        group="B",
        sentence="A scale equal to the standard deviation and a shift equal to the mean undo the normalisation, so "
        "that the layer can represent the identity.",
        source="§3",
        experiment=NAME,
        metric="largest relative error of BN with γ = √(σ²+ε), β = μ, σ from 1e-6 to 1e3, ε = 1e-5, float64",
        rule="error at most 1e-10",
        margin=TOLERANCE,
        paper="γ = √Var[x], β = E[x] recover the activations",
        deviation="γ = √(σ²+ε): ε belongs under the root, or the identity is missed where σ² is small",
        figure="identity_recoverable_error",
        judge=identity_recoverable,
    ),
)

DECLARED = Experiment(NAME, CLAIMS, pictures.figures, exam=False)
