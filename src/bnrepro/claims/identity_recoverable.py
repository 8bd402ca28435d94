"""§3: the layer can become the identity."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from bnrepro.claims import style
from bnrepro.claims.claim import Claim, Evidence, Experiment, measurement_of
from bnrepro.stats import Estimate, Within, exact
from bnrepro.tables import Results

NAME = "identity_recoverable"
RULE = Within(1e-10)
EPSILON = 1e-5
LABELS = {"paper": r"$\gamma=\sqrt{\sigma^2+\epsilon}$", "readers": r"$\gamma=\sigma$"}
MARKERS = {"from scratch": "o", "library": "x"}


def identity_recoverable(results: Results) -> Evidence:
    frame = measurement_of(results, NAME).frame
    paper, readers = (frame[frame["gamma"] == gamma] for gamma in LABELS)
    worst = float(paper["error"].max(skipna=False))
    estimates = [Estimate("largest relative error, γ = √(σ²+ε)", "float64", exact(worst), True, "number")]
    for (kernel, layer), rows in paper.groupby(["kernel", "layer"], sort=False):
        error = float(rows["error"].max(skipna=False))
        estimates.append(Estimate(f"{kernel}, {layer}, γ = √(σ²+ε)", "float64", exact(error), unit="number"))
    for deviation, rows in readers.groupby("deviation"):
        if f"{deviation:g}" in ("0.001", "1"):
            error = float(rows["error"].max())
            estimates.append(Estimate(f"γ = σ, at σ = {deviation:g}", "float64", exact(error), unit="number"))
    notes = [
        "μ and σ² are computed apart from the layer; with the statistics that it normalises by, any two constants in "
        "their place would be undone as well",
        "γ = σ, as readers write it, shrinks every value by σ/√(σ²+ε): no matter while σ² ≫ ε, all of it below",
    ]
    return Evidence(estimates, notes)


CLAIMS = (
    Claim(
        slug="identity_recoverable",
        group="B",
        origin="paper",
        sentence="A scale equal to the standard deviation and a shift equal to the mean undo the normalisation, so "
        "that the layer can represent the identity.",
        source="§3",
        metric="largest relative error of BN with γ = √(σ²+ε), β = μ from an independent computation, from-scratch "
        "layer and the library's, σ from 1e-6 to 1e3, ε = 1e-5, float64",
        unit="number",
        network="one layer",
        rule=RULE,
        paper="γ = √Var[x], β = E[x] recover the activations",
        deviation="γ = √(σ²+ε): ε belongs under the root, or the identity is missed where σ² is small",
        figure="identity_recoverable_error",
        numbers=identity_recoverable,
    ),
)


def figures(results: Results) -> dict[str, Figure]:
    """Error against the features' standard deviation; the error of the readers' γ lies on the curve of its formula.

    Each mark is the larger error of a linear and a convolutional layer's outputs.
    """
    frame = measurement_of(results, NAME).frame
    shades = {"paper": style.colour("batch"), "readers": style.OTHER_COLOURS[4]}
    figure, [[axes]] = style.canvas(style.PAGE, 2.8)
    deviations = np.geomspace(frame["deviation"].min(), frame["deviation"].max(), 200)
    # 1 − σ/√(σ²+ε), in a form that loses no digits where σ and the root are almost equal.
    root = np.sqrt(deviations**2 + EPSILON)
    axes.plot(deviations, EPSILON / (root * (root + deviations)), color="0.7", linewidth=2.5, zorder=0)
    for (gamma, kernel), rows in frame.groupby(["gamma", "kernel"], sort=False):
        gamma, kernel = str(gamma), str(kernel)
        worst = rows.groupby("deviation")["error"].max()
        axes.plot(
            worst.index, worst, MARKERS[kernel], color=shades[gamma], markersize=4, fillstyle="none",
            label=f"{LABELS[gamma]}, {kernel}",
        )  # fmt: skip
    axes.axhline(RULE.margin, **style.GUIDE)
    axes.text(deviations[0], 2 * RULE.margin, "tolerance", **style.NOTE)
    axes.text(0.04, 0.03, r"$1-\sigma/\sqrt{\sigma^2+\epsilon}$", **style.NOTE)
    axes.set(xscale="log", yscale="log", xlabel="standard deviation of the input, σ", ylim=(1e-17, 10))
    axes.set_ylabel("distance from the identity")
    style.legend_below(figure, axes, 4)
    return {"identity_recoverable_error": figure}


DECLARED = Experiment(NAME, 170, CLAIMS, figures, any_normaliser=False)
