"""Readers: what happens to a mini-batch of samples that hardly differ."""

from __future__ import annotations

import pandas as pd

from bnrepro.claims.base import Claim, Estimate, Experiment, Judgement, exact, measured
from bnrepro.pictures import similar_samples as pictures
from bnrepro.stats import MEASURED

NAME = "similar_samples"
USUAL_EPSILON = 1e-5
GAIN, GRADIENT, NOISE = "gain of noise", "gain of the gradient", "noise in the output"


@measured(NAME)
def similar_samples(frame: pd.DataFrame) -> Judgement:
    # Found by their text: a parsed number need not be the last digit of what a literal is.
    keys = [frame["quantity"], *(frame[column].map("{:g}".format) for column in ("epsilon", "deviation"))]
    sizes = frame.set_index(keys)["size"]

    def estimate(name: str, epsilon: float, deviation: float, unit: str = "ratio", primary: bool = False) -> Estimate:
        label = f"{name} at σ = {deviation:g}"
        value = float(sizes[name, f"{epsilon:g}", f"{deviation:g}"])
        return Estimate(label, f"ε = {epsilon:g}", exact(value), primary, unit)

    estimates = [estimate(GAIN, USUAL_EPSILON, 0.0, primary=True)]
    estimates += [estimate(GAIN, USUAL_EPSILON, deviation) for deviation in (0.01, 1.0)]
    others = [epsilon for epsilon in sorted(set(frame["epsilon"])) if f"{epsilon:g}" != f"{USUAL_EPSILON:g}"]
    estimates += [estimate(GAIN, epsilon, 0.0) for epsilon in others]
    estimates.append(estimate(GRADIENT, USUAL_EPSILON, 0.0))
    estimates += [estimate(NOISE, epsilon, 0.0, "number") for epsilon in (USUAL_EPSILON, *others)]
    notes = [
        "the gain is 1/√(σ²+ε), so ε alone bounds it: at 1/√ε once the samples are alike",
        "noise in the output: root mean square change by noise of standard deviation 0.01; the output itself has at "
        "most 1",
    ]
    return Judgement(MEASURED, estimates, notes)


CLAIMS = (
    Claim(
        slug="similar_samples",
        group="C",
        sentence="A mini-batch of nearly identical samples is bad for BN: it blows their noise, and the gradient, up.",
        source="readers",
        experiment=NAME,
        metric="standard deviation of noise after the layer ÷ before it, when the samples are identical, ε = 1e-5",
        rule="no margin is claimed",
        margin=None,
        paper="says only that ε is there for numerical stability",
        deviation="none: a property of the formula, in float64, with noise of standard deviation 1e-9",
        figure="similar_samples_noise",
        judge=similar_samples,
    ),
)

DECLARED = Experiment(NAME, CLAIMS, pictures.figures, exam=False)
