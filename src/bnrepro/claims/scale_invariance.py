"""§3.3: three identities of a normalised layer whose weights are scaled."""

from __future__ import annotations

import math

from matplotlib.figure import Figure

from bnrepro.claims import style
from bnrepro.claims.claim import Claim, Evidence, Experiment, measurement_of
from bnrepro.stats import Estimate, Within, exact
from bnrepro.tables import Results

NAME = "scale_invariance"
RULE = Within(1e-8)
SHAPES = (("o", 7), ("s", 4.5), ("x", 3))
"""Markers of falling size, for errors that coincide."""
EXACT_EPSILON = 1e-300
"""The measurement's stand-in for ε = 0: it vanishes beside every variance."""


def scale_invariance(results: Results) -> Evidence:
    frame = measurement_of(results, NAME).frame
    at_zero = frame[frame["epsilon"] == EXACT_EPSILON]
    worst = float(at_zero["error"].max(skipna=False))
    estimates = [Estimate("largest relative error at ε = 0", "float64", exact(worst), True, "number")]
    for (layer, identity), rows in at_zero.groupby(["layer", "identity"], sort=False):
        error = exact(float(rows["error"].max(skipna=False)))
        estimates.append(Estimate(f"{layer}: {identity}, ε = 0", "float64", error, unit="number"))
    for kernel, rows in at_zero.groupby("kernel", sort=False):
        error = exact(float(rows["error"].max(skipna=False)))
        estimates.append(Estimate(f"{kernel}: all identities, ε = 0", "float64", error, unit="number"))
    for side, rows in at_zero.groupby(at_zero["scale"] < 0):
        printed = exact(float(rows["printed"].max(skipna=False)))
        name = f"the identities as printed, a {'<' if side else '>'} 0"
        estimates.append(Estimate(name, "float64", printed, unit="number"))
    with_epsilon = frame[frame["epsilon"] != EXACT_EPSILON]
    notes = [
        "as printed, the identities hold for a > 0: at a < 0 the output and the gradient of the input change their "
        "sign, and that of the weights is divided by |a|, so that each differs by twice its size from what is printed"
    ]
    for epsilon, rows in with_epsilon.groupby("epsilon"):
        largest = rows.sort_values("error").iloc[-1]
        notes.append(
            f"with ε = {epsilon:g} the largest error is {largest['error']:.2g}, at a = {largest['scale']:g}: where the "
            "scale is small enough, ε counts"
        )
    return Evidence(estimates, notes)


CLAIMS = (
    Claim(
        slug="scale_invariance",
        group="B",
        origin="paper",
        sentence="Scaling the weights by a changes the output of a normalised layer and the gradient of its "
        "input in nothing but the sign, which is that of a, and divides the gradient of the weights "
        "by |a|.",
        source="§3.3",
        metric="largest relative error of the three identities, |a| from 1e-3 to 1e3 with both signs, from-scratch "
        "layer and the library's, ε = 0, float64",
        unit="number",
        network="one layer",
        rule=RULE,
        paper="three equations, for a scalar a",
        deviation="the paper says a scalar a; its equations hold for a > 0, and with the signs given here for a < 0. "
        "ε = 0 is a number that vanishes beside every variance (1e-300)",
        figure="scale_invariance_error",
        numbers=scale_invariance,
    ),
)


def figures(results: Results) -> dict[str, Figure]:
    """Error against the scale, one panel per layer: a colour per ε, and a shape per identity, one within the other.

    Each mark is the larger error of both kernels and both signs of the scale.
    """
    frame = measurement_of(results, NAME).frame
    frame = frame.assign(size=frame["scale"].abs())
    layers, identities = (list(dict.fromkeys(frame[column])) for column in ("layer", "identity"))
    figure, [axes] = style.canvas(style.PAGE, 2.9, 1, len(layers), sharey=True)
    for panel, layer in zip(axes, layers, strict=True):
        chosen = frame[frame["layer"] == layer]
        for (epsilon, identity), rows in chosen.groupby(["epsilon", "identity"]):
            shade = style.colour("batch") if epsilon == EXACT_EPSILON else "0.45"
            marker, size = SHAPES[identities.index(str(identity)) % len(SHAPES)]
            look = {"markersize": size, "markeredgewidth": 0.8, "fillstyle": "none", "linewidth": 0.5}
            worst = rows.groupby("size")["error"].max()
            panel.plot(worst.index, worst, "-", marker=marker, color=shade, **look)
        printed = chosen[(chosen["scale"] < 0) & (chosen["epsilon"] == EXACT_EPSILON)].groupby("size")["printed"].max()
        panel.plot(printed.index, printed, "--", color=style.OTHER_COLOURS[4], linewidth=1.1)
        panel.set(xscale="log", yscale="log", xlabel="scale of the weights, |a|")
        panel.minorticks_off()
    for panel in axes[:-1]:
        panel.axhline(RULE.margin, **style.GUIDE)
    style.mark(axes[-1], RULE.margin, "tolerance")
    for epsilon in sorted(frame["epsilon"].unique()):
        zero = epsilon == EXACT_EPSILON
        label = "ε = 0" if zero else f"the layer's ε = $10^{{{math.log10(epsilon):.0f}}}$"
        axes[0].plot([], [], color=style.colour("batch") if zero else "0.45", linewidth=2, label=label)
    axes[0].plot([], [], "--", color=style.OTHER_COLOURS[4], label="as printed, a < 0")
    for (marker, size), identity in zip(SHAPES, identities, strict=False):
        axes[0].plot([], [], marker, color="0.2", markersize=size, fillstyle="none", label=identity)
    axes[0].set_ylabel("relative error")
    style.panel_letters(axes, layers)
    style.legend_below(figure, axes[0], 3)
    return {"scale_invariance_error": figure}


DECLARED = Experiment(NAME, 160, CLAIMS, figures, any_normaliser=False)
