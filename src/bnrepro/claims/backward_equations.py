"""§3: the derivatives of the layer."""

from __future__ import annotations

import pandas as pd

from bnrepro.claims.base import Claim, Estimate, Experiment, Judgement, exact, exact_verdict, measured
from bnrepro.pictures import backward_equations as pictures
from bnrepro.stats import CONTRADICTED

NAME = "backward_equations"
TOLERANCE = 1.0
CONTRAST = "statistics constant"
NAMES = {
    "gradcheck": "from-scratch layer against finite differences",
    "equations, autograd": "the six equations as printed against autograd",
    "layer, library": "from-scratch layer against the library's",
    CONTRAST: "a layer that takes μ, σ² for constants, against finite differences",
}


@measured(NAME)
def backward_equations(frame: pd.DataFrame) -> Judgement:
    checked = frame[frame["check"] != CONTRAST]
    worst = float(checked["error"].max(skipna=False))
    refused = int((checked["passed"] != 1).sum())
    estimates = [Estimate("largest error ÷ gradcheck's tolerance", "float64", exact(worst), True, "number")]
    for check, rows in frame.groupby("check", sort=False):
        name = f"{NAMES[str(check)]}: error ÷ tolerance"
        error = float(rows["error"].max(skipna=False))
        estimates.append(Estimate(name, "float64", exact(error), unit="number"))
    library = frame[frame["check"] == "layer, library"]
    relative = float(library["relative"].max(skipna=False))
    estimates.append(Estimate("relative difference to the library's", "float64", exact(relative), unit="number"))
    notes = [f"{refused} comparisons did not pass"] if refused else []
    notes.append(
        "finite differences have an error of their own, of about 1e-10 relative: the larger one shown is theirs"
    )
    return Judgement(CONTRADICTED if refused else exact_verdict(worst, TOLERANCE), estimates, notes)


CLAIMS = (
    Claim(
        slug="backward_equations",
        group="B",
        sentence="The derivatives that the paper gives for the loss with respect to x̂, σ², μ, x, γ and β are those of "
        "its algorithm.",
        source="§3",
        experiment=NAME,
        metric="largest error ÷ gradcheck's own tolerance (1e-5 + 1e-3 · size), against finite differences, autograd "
        "and the library, 2-D to 4-D inputs, two ε, float64",
        rule="at most 1, and torch's gradcheck passes",
        margin=TOLERANCE,
        paper="six equations",
        deviation="none",
        figure="backward_equations_error",
        judge=backward_equations,
    ),
)

DECLARED = Experiment(NAME, CLAIMS, pictures.figures, exam=False)
