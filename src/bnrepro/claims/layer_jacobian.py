"""§3.3's conjecture: Batch Normalization brings the singular values of the layers' Jacobians near 1."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnrepro.claims import style
from bnrepro.claims.claim import Claim, Evidence, Experiment, Inapplicable, measurement_of
from bnrepro.stats import BASELINE, Below, Estimate, Interval, paired_difference, paired_ratio
from bnrepro.tables import Results

NAME = "layer_jacobian"
ARM = "batch"
ARMS = (BASELINE, ARM)
TRAINING, DEPTH, GRADIENT = "training", "depth", "gradient"
DISTANCE, SPREAD, MEAN, NEAR = "distance", "spread", "mean", "near"
RULE = Below(0.5, null=1.0)
NONLINEARITIES = {"sigmoid": ("sigmoid", "o"), "relu": ("ReLU", "s")}
"""Nonlinearity → its name and marker."""


def layer_jacobian(results: Results) -> Evidence:
    frame = measurement_of(results, NAME).frame
    training, notes = _complete(frame[frame["part"] == TRAINING])
    points = sorted(training["step"].unique())
    distance = _by_seed(training, DISTANCE)
    estimates = [
        Estimate("distance of the singular values from 1, over training", ARM, _ratio(distance), True),
        *_each("distance of the singular values from 1, over training", distance),
    ]
    for step, when in ((points[0], "at initialisation"), (points[-1], f"after {points[-1]:,} steps")):
        rows = training[training["step"] == step]
        estimates.append(Estimate(f"distance {when}", ARM, _ratio(_by_seed(rows, DISTANCE))))
        estimates.append(Estimate(f"spread of log s {when}", ARM, _ratio(_by_seed(rows, SPREAD))))
        estimates += _each(f"|mean of log s| {when}", _by_seed(_absolute(rows), MEAN))
        estimates += _each(f"singular values within a factor of 2 of 1, {when}", _shares(rows), "share")
    estimates.append(Estimate("spread of log s, over training", ARM, _ratio(_by_seed(training, SPREAD))))
    for layer, rows in training.groupby("layer"):
        first = int(str(layer))
        between = f"distance over training, hidden layer {first} to {first + 1}"
        estimates.append(Estimate(between, ARM, _ratio(_by_seed(rows, DISTANCE))))
    start = frame[frame["part"] == DEPTH]
    for depth, rows in start[start["metric"] == DISTANCE].groupby("depth"):
        name = f"distance at initialisation, {depth} layers"
        estimates.append(Estimate(name, ARM, _ratio(_by_seed(rows, DISTANCE))))
    deep = start[start["metric"] == GRADIENT]
    for (activation, depth), rows in deep.groupby(["activation", "depth"]):
        for arm in ARMS:
            growth = _growth(rows[rows["arm"] == arm])
            named = NONLINEARITIES[str(activation)][0]
            name = f"growth of the gradient from layer to layer towards the input, {named}, {depth} layers"
            estimates.append(Estimate(name, arm, growth))
    [label] = frame["data"].unique()
    notes += [
        f"{label}; s are the singular values of the Jacobian from the normalised input x̂ of one hidden layer to that "
        "of the next (without BN: from the input of one nonlinearity to that of the next), at single examples, with "
        "the statistics of a large batch held fixed; the distance is the root mean square of log s, and has two parts: "
        "distance² = spread² + (mean of log s)²",
        "a square matrix of independent weights has a spread of its own, of about 1, that no scale of its rows undoes",
        "gradients in deep networks: before training, on one mini-batch, through the batch's statistics; a factor "
        "above 1 explodes, one below 1 vanishes. Networks with sigmoids start as that of §4.1, with ReLU by Kaiming",
    ]
    return Evidence(estimates, notes, distance.rename(columns={BASELINE: "without", ARM: "with"}))


def _complete(training: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The rows of seeds that diverged in neither arm, and a note on the others."""
    lost = training.loc[training["metric"] == "diverged", ["arm", "seed"]].drop_duplicates()
    notes = [
        f"{len(rows)} of {training['seed'].nunique()} runs of the arm {arm} diverged; these seeds are left out"
        for arm, rows in lost.groupby("arm")
    ]
    kept = training[~training["seed"].isin(lost["seed"]) & (training["metric"] != "diverged")]
    if not set(ARMS) <= set(kept["arm"]):
        raise Inapplicable(f"the table of {NAME} has no seed that finished with both {' and '.join(ARMS)}")
    return kept, notes


def _by_seed(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Geometric mean of a positive metric over layers and points: seeds (rows) × arms (columns)."""
    chosen = rows[rows["metric"] == metric]
    return chosen["value"].apply(np.log).groupby([chosen["seed"], chosen["arm"]]).mean().apply(np.exp).unstack("arm")


def _shares(rows: pd.DataFrame) -> pd.DataFrame:
    """Share of the singular values near 1: seeds (rows) × arms (columns)."""
    return rows[rows["metric"] == NEAR].pivot_table(index="seed", columns="arm", values="value")


def _absolute(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(value=rows["value"].abs())


def _ratio(values: pd.DataFrame) -> Interval:
    return paired_ratio(values[ARM], values[BASELINE])


def _each(name: str, values: pd.DataFrame, unit: str = "number") -> list[Estimate]:
    return [Estimate(name, arm, paired_difference(values[arm]), unit=unit) for arm in ARMS]


def _growth(rows: pd.DataFrame) -> Interval:
    """The factor by which the gradient grows with every layer that it is propagated back through."""
    layers = rows["depth"].to_numpy(dtype=float) - 1
    factor = rows["value"].to_numpy(dtype=float) ** (1 / layers)
    return paired_ratio(factor, np.ones_like(factor))


CLAIMS = (
    Claim(
        slug="layer_jacobian",
        group="D",
        origin="paper",
        sentence="Batch Normalization brings the singular values of the layers' Jacobians near 1.",
        source="§3.3",
        metric="distance of the singular values s from 1, the root mean square of log s (its spread and its mean "
        "together), geometric mean over layers and 11 points of 2,000 steps of training, with BN ÷ without",
        unit="ratio",
        network="MLP of §4.1",
        rule=RULE,
        paper="a conjecture; no experiment is given",
        deviation="Jacobians at single examples with the statistics held fixed, as in the paper's argument; short runs "
        "of the network of §4.1 at the best rate and scale for the network without Batch Normalization",
        figure="layer_jacobian_singular",
        numbers=layer_jacobian,
    ),
)


def figures(results: Results) -> dict[str, Figure]:
    """Singular values over training, their distance from 1, and gradients of deep networks at initialisation."""
    found = measurement_of(results, NAME)
    frame = found.frame
    training, _ = _complete(frame[frame["part"] == TRAINING])
    figure, [[values, distance, deep]] = style.canvas(style.PAGE, 2.9, 1, 3)
    for arm in ARMS:
        rows = training[training["arm"] == arm]
        _percentiles(values, rows, arm)
        curves = rows[rows["metric"] == DISTANCE].pivot_table(index="step", columns="seed", values="value")
        style.band(distance, curves, arm, style=style.line(arm))
        style.training(distance, curves)
        style.training(values, curves)
    values.axhline(1, **style.GUIDE)
    values.set(yscale="log", ylabel="singular values s")
    distance.set(ylabel="root mean square of log s")
    distance.set_ylim(0, None)
    _gradients(deep, frame[(frame["part"] == DEPTH) & (frame["metric"] == GRADIENT)])
    style.panel_letters([values, distance, deep], ["layer Jacobians", "distance from 1", "gradients before training"])
    style.legend_below(figure, [distance, deep], 4)
    figure.suptitle(
        f"{frame['data'].iloc[0]}; (a) median, and 5% to 95% of s; (b), (c) "
        + style.summary("median and range", training["seed"].nunique())
    )
    return {"layer_jacobian_singular": figure}


def _percentiles(axes: Axes, rows: pd.DataFrame, arm: str) -> None:
    """The median of the singular values, and the band that holds 90% of them; means over layers and seeds."""
    shown = rows.pivot_table(index="step", columns="metric", values="value")
    axes.plot(shown.index, shown["median"], style.line(arm), color=style.colour(arm))
    axes.fill_between(shown.index, shown["low"], shown["high"], color=style.colour(arm), alpha=0.18, linewidth=0)


def _gradients(axes: Axes, rows: pd.DataFrame) -> None:
    """‖∂ℓ/∂a‖ of the first hidden layer over that of the last, against depth."""
    for (arm, activation), chosen in rows.groupby(["arm", "activation"], sort=False):
        curves = chosen.pivot(index="depth", columns="seed", values="value")
        look = {"marker": NONLINEARITIES[str(activation)][1], "markersize": 3.5, "fillstyle": "none"}
        style.median_and_range(axes, curves, style.line(str(arm)), style.colour(str(arm)), **look)
    for name, marker in NONLINEARITIES.values():
        axes.plot([], [], marker, color="0.4", markersize=3.5, fillstyle="none", label=f"(c) {name}")
    axes.axhline(1, **style.GUIDE)
    axes.set(yscale="log", xlabel="hidden layers", ylabel="gradient at the first layer ÷ at the last")


DECLARED = Experiment(NAME, 320, CLAIMS, figures, any_normaliser=False)
