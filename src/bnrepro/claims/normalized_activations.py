"""Algorithm 1: mean and variance of the normalised features, and those after the readers' whole-tensor form."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnrepro.claims import style
from bnrepro.claims.claim import Claim, Evidence, Experiment, measurement_of
from bnrepro.stats import Estimate, Within, exact
from bnrepro.tables import Results

NAME = "normalized_activations"
PAPER, LIBRARY = "per feature, from scratch", "per feature, library"
SCALAR, SCALAR_NO_EPSILON = "whole tensor", "whole tensor, no ε"
EPSILON = 1e-5
SHOWN = {
    PAPER: (style.colour("batch"), "o", "Algorithm 1, from scratch"),
    LIBRARY: ("#000000", "+", "Algorithm 1, library"),
    SCALAR: (style.OTHER_COLOURS[4], "x", "whole tensor"),
}


def normalized_activations(results: Results) -> Evidence:
    frame = measurement_of(results, NAME).frame
    features, whole = frame[frame["feature"] != "all"], frame[frame["feature"] == "all"]
    errors = {
        layer: [_largest(features[features["layer"] == layer], column) for column in ("mean", "variance_error")]
        for layer in (PAPER, LIBRARY)
    }
    worst = float(np.max(list(errors.values())))  # NaN if any of them is
    scalar = features[(features["layer"] == SCALAR) & (features["case"] != "constant")]
    constant = features[features["case"] == "constant"].groupby("layer")["finite"].mean()
    example = whole[whole["case"] == "3x10"].set_index("layer")["std"]
    estimates = [
        Estimate("largest error of a feature's mean or variance", "both layers", exact(worst), True, "number"),
        *(
            Estimate(name, layer, exact(errors[layer][index]), unit="number")
            for layer in errors
            for index, name in enumerate(("largest |mean| of a feature", "largest error of a feature's variance"))
        ),
        Estimate("largest |mean| of a feature", SCALAR, exact(_largest(scalar, "mean")), unit="number"),
        Estimate(
            "largest error of a feature's variance", SCALAR, exact(_largest(scalar, "variance_error")), unit="number"
        ),
        *(
            Estimate("finite outputs on a constant input", layer, exact(float(constant[layer])), unit="share")
            for layer in (PAPER, LIBRARY, SCALAR, SCALAR_NO_EPSILON)
        ),
        Estimate("output.std() of the readers' 3×10 example", PAPER, exact(float(example[PAPER])), unit="number"),
    ]
    notes = [
        "over the entire tensor the whole-tensor form does have mean 0 and variance 1; its features have not",
        f"output.std() of 30 values with variance 1 is not 1 but √(30/29) = {(30 / 29) ** 0.5:.4g}: it divides by "
        "n − 1 where Algorithm 1 divides by n",
    ]
    return Evidence(estimates, notes)


def _largest(rows: pd.DataFrame, column: str) -> float:
    """The largest absolute value; NaN if any value is NaN, so that no tolerance admits it."""
    return float(rows[column].abs().max(skipna=False))


CLAIMS = (
    Claim(
        slug="normalized_activations",
        group="B",
        origin="paper",
        sentence="Each feature leaves the normalisation with mean 0 and variance σ²/(σ²+ε) over the mini-batch, "
        "whatever its own mean and variance σ² were.",
        source="Algorithm 1, §3",
        metric="largest |mean| and |variance − σ²/(σ²+ε)| of a feature, from-scratch layer and the library's, σ² from "
        "1e-8 to 100, and 0, float64",
        unit="number",
        network="one layer",
        rule=Within(1e-6),
        paper="mean 0, variance 1 where ε is neglected",
        deviation="ε = 1e-5 is not neglected: a feature whose variance is below it leaves with less than 1",
        figure="normalized_activations_features",
        numbers=normalized_activations,
    ),
)


def figures(results: Results) -> dict[str, Figure]:
    """Statistics after the layer against those before it. Each mark is a feature; the grey line is Algorithm 1's."""
    frame = measurement_of(results, NAME).frame
    features = frame[(frame["case"] == "linear") & (frame["feature"] != "all")]
    figure, [[mean, variance]] = style.canvas(style.PAGE, 2.5, 1, 2)
    mean.axhline(0, color="0.7", linewidth=3, solid_capstyle="butt", label="mean 0, variance σ²/(σ²+ε)")
    _marks(mean, features, "input_mean", "mean")
    mean.set(xlabel="mean of a feature before", ylabel="mean after")
    axis = np.geomspace(features["input_variance"].min(), features["input_variance"].max(), 200)
    variance.plot(axis, axis / (axis + EPSILON), color="0.7", linewidth=3)
    variance.axvline(EPSILON, **style.GUIDE)
    variance.annotate("ε", (EPSILON, 10), textcoords="offset points", xytext=(3, 0))
    _marks(variance, features, "input_variance", "variance")
    variance.set(xscale="log", yscale="log", xlabel="variance σ² of a feature before", ylabel="variance after")
    style.panel_letters([mean, variance], ["mean", "variance"])
    style.legend_below(figure, mean, 4)
    return {"normalized_activations_features": figure}


def _marks(axes: Axes, features: pd.DataFrame, before: str, after: str) -> None:
    for layer, (shade, marker, label) in SHOWN.items():
        rows = features[features["layer"] == layer]
        axes.plot(rows[before], rows[after], marker, color=shade, markersize=3.5, label=label)


DECLARED = Experiment(NAME, 150, CLAIMS, figures, any_normaliser=False)
