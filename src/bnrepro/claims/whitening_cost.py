"""§2: the price of whitening the features jointly."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bnrepro.claims import style
from bnrepro.claims.claim import Claim, Evidence, Experiment, Inapplicable, measured_frame
from bnrepro.stats import Above, Estimate, Interval, paired_difference, paired_ratio
from bnrepro.tables import Results

NAME = "whitening_cost"
WIDEST = 1024
WHITENING, SIMPLE = "whitening", "per_feature"
FITTED_FROM = 128
"""Exponents are those of the wider layers: the narrow ones mostly take the time of calling a function."""
LOOKS = {
    WHITENING: ("full whitening", style.OTHER_COLOURS[4], "s", "--"),
    SIMPLE: ("per feature", style.colour("batch"), "o", "-"),
}


def whitening_cost(results: Results) -> Evidence:
    frame = measured_frame(results, NAME)
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
    """Slope of log time against log width by least squares, round by round; NaN for fewer than two wide layers."""
    wide = frame[frame["width"] >= FITTED_FROM].pivot(index="width", columns="round", values=column)
    if len(wide) < 2:
        return Interval(math.nan, math.nan, math.nan, 0)
    logs = np.log(wide.to_numpy(dtype=float))
    return paired_difference(np.polyfit(np.log(wide.index.to_numpy(dtype=float)), logs, 1)[0])


def _ratio_at(frame: pd.DataFrame, width: int) -> Interval:
    """Time of whitening over that of per-feature normalisation at one width, round by round."""
    rows = frame[frame["width"] == width]
    return paired_ratio(rows[WHITENING].to_numpy(), rows[SIMPLE].to_numpy())


CLAIMS = (
    Claim(
        slug="whitening_cost",
        group="B",
        origin="paper",
        sentence="Whitening all features of a layer jointly costs far more than normalising each of them by itself.",
        source="§2, §3",
        experiment=NAME,
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
    """Median and range of the rounds, with the slope of the wider layers and the ratio at the widest."""
    found = results.measured(NAME)
    if found is None:
        return {}
    figure, [[axes]] = style.canvas(style.COLUMN, 2.8)
    medians = {}
    for column, (label, shade, marker, dashes) in LOOKS.items():
        rounds = 1000 * found.frame.pivot(index="width", columns="round", values=column)
        middle = medians[column] = rounds.median(axis=1)
        slope = _exponent(found.frame, column)
        growth = f": cost ∝ width$^{{{slope.value:.2f}}}$" if slope.n else ""
        axes.plot(middle.index, middle, dashes, marker=marker, markersize=3.5, color=shade, label=label + growth)
        axes.fill_between(middle.index, rounds.min(axis=1), rounds.max(axis=1), color=shade, alpha=0.18, linewidth=0)
    low, high = (float(medians[column].iloc[-1]) for column in (SIMPLE, WHITENING))
    widest = medians[WHITENING].index[-1]
    axes.annotate("", (widest, high), (widest, low), arrowprops={"arrowstyle": "<->", "color": "0.35", "lw": 0.7})
    ratio = _ratio_at(found.frame, widest).value
    axes.text(widest * 0.92, np.sqrt(low * high), f"{ratio:.0f}×", color="0.2", ha="right", va="center")
    axes.set(xscale="log", yscale="log", xlabel="features", ylabel="forward + backward (ms of processor time)")
    axes.set_xticks(list(middle.index), [f"{width:g}" for width in middle.index])
    axes.set_xticks([], minor=True)
    axes.legend(loc="upper left")
    return {"whitening_cost_width": figure}


DECLARED = Experiment(NAME, 220, CLAIMS, figures, any_normaliser=False)
