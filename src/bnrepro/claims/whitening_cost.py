"""§2: the cost of whitening the features jointly."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bnrepro.claims import style
from bnrepro.claims.claim import Claim, Evidence, Experiment, Inapplicable, measurement_of
from bnrepro.stats import Above, Estimate, Interval, exact, paired_difference, paired_ratio
from bnrepro.tables import Results

NAME = "whitening_cost"
WIDEST = 1024
SIMPLE = "per feature"
WHITE = 0.01
"""The largest entry of Cov[x̂] − I of a layer that counts as whitening. One that does not whiten may well be cheap."""
FITTED_FROM = 128
"""Exponents are fitted from this width on: narrow layers mostly take the time of a function call."""
LOOKS = {
    "Newton–Schulz": ("whitening, Newton–Schulz", style.OTHER_COLOURS[0], "^", "-."),
    "eigenvectors": ("whitening, eigenvectors", style.OTHER_COLOURS[4], "s", "--"),
    "Cholesky": ("whitening, Cholesky", style.OTHER_COLOURS[1], "D", ":"),
    SIMPLE: ("per feature", style.colour("batch"), "o", "-"),
}


def whitening_cost(results: Results) -> Evidence:
    frame = measurement_of(results, NAME).frame
    if WIDEST not in set(frame["width"]):
        raise Inapplicable(f"the table of {NAME} has no width of {WIDEST:,}")
    ways, other = _ways(frame)
    if not ways:
        raise Inapplicable(f"no layer in the table of {NAME} whitens")
    seconds = _seconds(frame, WIDEST)
    estimates = [
        Estimate(f"time at width {WIDEST:,}", "cheapest whitening ÷ per feature", _cheapest(frame, WIDEST), True)
    ]
    for way in ways:
        ratio = paired_ratio(seconds[way], seconds[SIMPLE])
        estimates.append(Estimate(f"time at width {WIDEST:,}", f"{way} ÷ per feature", ratio))
    for layer in (SIMPLE, *ways):
        estimates.append(Estimate("exponent of the cost in the width", layer, _exponent(frame, layer), unit="number"))
    for width in sorted(set(frame["width"]) - {WIDEST}):
        ratio = _cheapest(frame, width)
        estimates.append(Estimate(f"time at width {width:,}", "cheapest whitening ÷ per feature", ratio))
    for way in ways:
        rest = exact(float(frame.loc[frame["layer"] == way, "white"].max(skipna=False)))
        estimates.append(Estimate("largest entry of Cov[x̂] − I", way, rest, unit="number"))
    milliseconds = ", ".join(f"{1000 * seconds[layer].median():.3g} ms {layer}" for layer in (SIMPLE, *ways))
    notes = [
        f"at {WIDEST:,} features: {milliseconds}; medians of {len(seconds)} rounds; exponents over widths from "
        f"{FITTED_FROM}",
        "the cheapest way is taken anew in every round and at every width, which favours whitening",
    ]
    notes += [f"{layer}: does not whiten (Cov[x̂] − I reaches {size:.2g}), and does not count" for layer, size in other]
    share = float(frame["core_share"].min())
    if share < 0.9:
        notes.append(
            f"other work took the core: this process had down to {100 * share:.0f}% of the time. Processor time does "
            "not count the waiting, but shared caches still make the times longer and less regular: the ratio counts"
        )
    return Evidence(estimates, notes)


def _ways(frame: pd.DataFrame) -> tuple[list[str], list[tuple[str, float]]]:
    """The layers that whiten at every width, and those that do not, with the largest entry of Cov[x̂] − I."""
    sizes = (
        frame[frame["layer"] != SIMPLE].groupby("layer", sort=False)["white"].agg(lambda each: each.max(skipna=False))
    )
    white = [str(layer) for layer, size in sizes.items() if size <= WHITE]
    return white, [(str(layer), float(size)) for layer, size in sizes.items() if layer not in white]


def _seconds(frame: pd.DataFrame, width: int) -> pd.DataFrame:
    """Seconds at one width: rounds (rows) × layers (columns)."""
    return frame[frame["width"] == width].pivot(index="round", columns="layer", values="seconds")


def _cheapest(frame: pd.DataFrame, width: int) -> Interval:
    """Time of the cheapest whitening over that of per-feature normalisation at one width, round by round."""
    seconds = _seconds(frame, width)
    return paired_ratio(seconds[_ways(frame)[0]].min(axis=1), seconds[SIMPLE])


def _exponent(frame: pd.DataFrame, layer: str) -> Interval:
    """Least-squares slope of log time against log width, round by round; NaN for fewer than two wide layers."""
    rows = frame[(frame["layer"] == layer) & (frame["width"] >= FITTED_FROM)]
    wide = rows.pivot(index="width", columns="round", values="seconds")
    if len(wide) < 2:
        return Interval(math.nan, math.nan, math.nan, 0)
    logs = np.log(wide.to_numpy(dtype=float))
    return paired_difference(np.polyfit(np.log(wide.index.to_numpy(dtype=float)), logs, 1)[0])


CLAIMS = (
    Claim(
        slug="whitening_cost",
        group="B",
        origin="paper",
        sentence="Whitening all features of a layer jointly costs far more than normalising each by itself, "
        "whichever way it is done.",
        source="§2, §3",
        metric="processor time of a forward and backward pass, cheapest of three ways to whiten ÷ per feature, 1,024 "
        "features, 2,048 examples",
        unit="ratio",
        network="one layer",
        counts="rounds",
        rule=Above(10.0, null=1.0),
        paper="calls full whitening expensive, without a number",
        deviation="whitening by eigenvectors of the covariance (ZCA), by its Cholesky factor, and by Newton–Schulz "
        "iteration to convergence, float32 on one CPU thread; the simple layer is the from-scratch one, which is "
        "slower than the library's",
        figure="whitening_cost_width",
        numbers=whitening_cost,
    ),
)


def figures(results: Results) -> dict[str, Figure]:
    """Median and range of the rounds, with the slope over the wider layers and the ratio at the widest."""
    frame = measurement_of(results, NAME).frame
    figure, [[axes]] = style.canvas(style.PAGE, 3.2)
    medians = {}
    for layer, (label, shade, marker, dashes) in LOOKS.items():
        rows = frame[frame["layer"] == layer]
        rounds = 1000 * rows.pivot(index="width", columns="round", values="seconds")
        medians[layer] = rounds.median(axis=1)
        slope = _exponent(frame, layer)
        growth = f": cost ∝ width$^{{{slope.value:.2f}}}$" if slope.n else ""
        style.median_and_range(axes, rounds, dashes, shade, marker=marker, markersize=3.5, label=label + growth)
    widths = medians[SIMPLE].index
    widest = widths[-1]
    if ways := _ways(frame)[0]:
        low, high = float(medians[SIMPLE].iloc[-1]), min(float(medians[way].iloc[-1]) for way in ways)
        axes.annotate("", (widest, high), (widest, low), arrowprops={"arrowstyle": "<->", "color": "0.35", "lw": 0.7})
        ratio = _cheapest(frame, widest).value
        axes.text(widest * 0.92, np.sqrt(low * high), f"{ratio:.0f}×", color="0.2", ha="right", va="center")
    axes.set(xscale="log", yscale="log", xlabel="features", ylabel="forward + backward (ms of processor time)")
    axes.set_xticks(list(widths), [f"{width:g}" for width in widths])
    axes.set_xticks([], minor=True)
    style.legend_below(figure, axes, 2)
    return {"whitening_cost_width": figure}


DECLARED = Experiment(NAME, 220, CLAIMS, figures, any_normaliser=False)
