"""Mean and variance of every feature after normalisation: feature by feature, and over the whole tensor."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnrepro.claims.style import OTHER_COLOURS, PAGE, canvas, colour, panel_letters
from bnrepro.tables import Results

EPSILON = 1e-5
SHOWN = {"per feature": (colour("batch"), "o", "Algorithm 1"), "whole tensor": (OTHER_COLOURS[4], "x", "whole tensor")}


def figures(results: Results) -> dict[str, Figure]:
    """Outputs' statistics over inputs', a mark a feature; what Algorithm 1 promises as a grey line."""
    found = results.measured("normalized_activations")
    if found is None:
        return {}
    frame = found.frame
    features = frame[(frame["case"] == "linear") & (frame["feature"] != "all")]
    figure, [[mean, variance]] = canvas(PAGE, 2.5, 1, 2)
    mean.axhline(0, color="0.7", linewidth=3, solid_capstyle="butt", label="mean 0, variance σ²/(σ²+ε)")
    _marks(mean, features, "input_mean", "mean")
    mean.set(xlabel="mean of a feature before", ylabel="mean after")
    axis = np.geomspace(features["input_variance"].min(), features["input_variance"].max(), 200)
    variance.plot(axis, axis / (axis + EPSILON), color="0.7", linewidth=3)
    variance.axvline(EPSILON, color="0.6", linewidth=0.6, linestyle=":")
    variance.annotate("ε", (EPSILON, 10), textcoords="offset points", xytext=(3, 0))
    _marks(variance, features, "input_variance", "variance")
    variance.set(xscale="log", yscale="log", xlabel="variance σ² of a feature before", ylabel="variance after")
    panel_letters([mean, variance], ["mean", "variance"])
    figure.legend(*mean.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return {"normalized_activations_features": figure}


def _marks(axes: Axes, features: pd.DataFrame, before: str, after: str) -> None:
    for layer, (shade, marker, label) in SHOWN.items():
        rows = features[features["layer"] == layer]
        axes.plot(rows[before], rows[after], marker, color=shade, markersize=3.5, label=label)
