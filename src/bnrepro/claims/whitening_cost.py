"""§2: the cost of whitening the features jointly."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bnrepro.claims import style
from bnrepro.claims.claim import Claim, Evidence, Experiment, Inapplicable, measurement_of
from bnrepro.stats import Above, Estimate, Interval, paired_difference, paired_ratio
from bnrepro.tables import Results

NAME = "whitening_cost"
WIDEST = 1024
WHITENING, SIMPLE = "whitening", "per_feature"
FITTED_FROM = 128
"""Exponents are fitted from this width on: narrow layers mostly take the time of a function call."""
LOOKS = {
    WHITENING: ("full whitening", style.OTHER_COLOURS[4], "s", "--"),
    SIMPLE: ("per feature", style.colour("batch"), "o", "-"),
}


def whitening_cost(results: Results) -> Evidence:
    frame = measurement_of(results, NAME).frame
    widest = frame[frame["width"] == WIDEST]
    if widest.empty:
        raise Inapplicable(f"the table of {NAME} has no width of {WIDEST:,}")
    cost = "exponent of the cost in the width"
    estimates = [
        Estimate(f"time at width {WIDEST:,}", "whitening ÷ per feature", _ratio_at(frame, WIDEST), True),
        Estimate(cost, "per feature", _exponent(frame, SIMPLE), unit="number"),
        Estimate(cost, "whitening", _exponent(frame, WHITENING), unit="number"),
    ]
    for width in sorted(set(frame["width"]) - {WIDEST}):
        estimates.append(Estimate(f"time at width {width:,}", "whitening ÷ per feature", _ratio_at(frame, width)))
    milliseconds = 1000 * widest[[SIMPLE, WHITENING]].median()
    notes = [
        f"at {WIDEST:,} features: {milliseconds[SIMPLE]:.3g} ms and {milliseconds[WHITENING]:.3g} ms, medians "
        f"of {len(widest)} rounds; exponents over widths from {FITTED_FROM}",
    ]
    share = float(frame["core_share"].min())
    if share < 0.9:
        notes.append(
            f"other work took the core: this process had down to {100 * share:.0f}% of the time. Processor time does "
            "not count the waiting, but shared caches still make the times longer and less regular"
        )
    return Evidence(estimates, notes)


def _exponent(frame: pd.DataFrame, column: str) -> Interval:
    """Least-squares slope of log time against log width, round by round; NaN for fewer than two wide layers."""
    wide = frame[frame["width"] >= FITTED_FROM].pivot(index="width", columns="round", values=column)
    if len(wide) < 2:
        return Interval(math.nan, math.nan, math.nan, 0)
    logs = np.log(wide.to_numpy(dtype=float))
    return paired_difference(np.polyfit(np.log(wide.index.to_numpy(dtype=float)), logs, 1)[0])


def _ratio_at(frame: pd.DataFrame, width: int) -> Interval:
    """Time of whitening over time of per-feature normalisation at one width, round by round."""
    rows = frame[frame["width"] == width]
    return paired_ratio(rows[WHITENING], rows[SIMPLE])


CLAIMS = (
    Claim(
        slug="whitening_cost",
        group="B",
        origin="paper",
        sentence="Whitening all features of a layer jointly costs far more than normalising each of them by itself.",
        source="§2, §3",
        metric="processor time of a forward and backward pass, whitening ÷ per feature, 1,024 features, 2,048 examples",
        unit="ratio",
        rule=Above(10.0, null=1.0),
        paper="calls full whitening expensive, without a number",
        deviation="whitening by eigenvectors of the covariance (ZCA), float32 on one CPU thread; the simple layer is "
        "the from-scratch one, which is slower than the library's",
        figure="whitening_cost_width",
        numbers=whitening_cost,
    ),
)


def figures(results: Results) -> dict[str, Figure]:
    """Median and range of the rounds, with the slope over the wider layers and the ratio at the widest."""
    frame = measurement_of(results, NAME).frame
    figure, [[axes]] = style.canvas(style.PAGE, 3.0)
    medians = {}
    for column, (label, shade, marker, dashes) in LOOKS.items():
        rounds = 1000 * frame.pivot(index="width", columns="round", values=column)
        medians[column] = rounds.median(axis=1)
        slope = _exponent(frame, column)
        growth = f": cost ∝ width$^{{{slope.value:.2f}}}$" if slope.n else ""
        style.median_and_range(axes, rounds, dashes, shade, marker=marker, markersize=3.5, label=label + growth)
    low, high = (float(medians[column].iloc[-1]) for column in (SIMPLE, WHITENING))
    widths = medians[WHITENING].index
    widest = widths[-1]
    axes.annotate("", (widest, high), (widest, low), arrowprops={"arrowstyle": "<->", "color": "0.35", "lw": 0.7})
    ratio = _ratio_at(frame, widest).value
    axes.text(widest * 0.92, np.sqrt(low * high), f"{ratio:.0f}×", color="0.2", ha="right", va="center")
    axes.set(xscale="log", yscale="log", xlabel="features", ylabel="forward + backward (ms of processor time)")
    axes.set_xticks(list(widths), [f"{width:g}" for width in widths])
    axes.set_xticks([], minor=True)
    style.legend_below(figure, axes, 2)
    return {"whitening_cost_width": figure}


DECLARED = Experiment(NAME, 220, CLAIMS, figures, any_normaliser=False)
