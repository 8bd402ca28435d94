"""§1: a mini-batch's gradient as an estimate of the training set's, and its cost."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bnrepro.claims import style
from bnrepro.claims.claim import Claim, Evidence, Experiment, measurement_of
from bnrepro.stats import Around, Estimate, paired_difference, paired_ratio
from bnrepro.tables import Results

NAME = "gradient_estimate"
RULE = Around(-0.5, 0.1)
ARM = "none"
ERROR, SPEED = "error", "examples per second"


def gradient_estimate(results: Results) -> Evidence:
    frame = measurement_of(results, NAME).frame
    errors, speeds = (_by_repetition(frame, metric) for metric in (ERROR, SPEED))
    slopes = errors.apply(slope, axis=1)
    estimates = [Estimate("slope of the relative error", ARM, paired_difference(slopes), True, "number")]
    sizes = [size for size in (1, 64, 4096) if size in errors] or [errors.columns.min()]
    for size in sizes:
        error = paired_difference(errors[size])
        estimates.append(Estimate(f"relative error, {size} examples a batch", ARM, error, unit="number"))
    smallest = speeds.columns.min()
    for size in (size for size in sizes if size != smallest):
        gain = paired_ratio(speeds[size], speeds[smallest])
        estimates.append(Estimate(f"examples per second, {size} a batch over {smallest}", ARM, gain))
    [label] = frame["data"].unique()
    notes = [
        f"{label}; one network a repetition, trained for some hundred steps, and mini-batches of its own",
        f"{speeds[smallest].median():,.0f} examples a second at {smallest} a batch, "
        f"{speeds.median().max():,.0f} at {speeds.median().idxmax()}: forward and backward pass, one thread",
    ]
    return Evidence(estimates, notes, errors[sizes].add_prefix("error at ").assign(slope=slopes))


def slope(errors: pd.Series) -> float:
    """Exponent of the batch size (index) in the errors: a least-squares fit of their logarithms."""
    return float(np.polyfit(np.log(errors.index.to_numpy(dtype=float)), np.log(errors.to_numpy(dtype=float)), 1)[0])


def _by_repetition(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Values of ``metric``: repetitions (rows) × batch sizes (columns)."""
    return frame[frame["metric"] == metric].pivot(index="repetition", columns="batch", values="value")


CLAIMS = (
    Claim(
        slug="gradient_estimate",
        group="C",
        origin="paper",
        sentence="The gradient of a mini-batch estimates that of the training set, with an error that shrinks "
        "as the inverse root of the batch's size; a batch costs less than as many examples one by "
        "one.",
        source="§1; readers",
        metric="exponent of the batch size in the relative error of the gradient, batches of 1 to 4,096",
        unit="number",
        network="MLP of §4.1",
        counts="repetitions",
        rule=RULE,
        paper="a sentence; no number is given",
        deviation="the network of §4.1 without Batch Normalization, after some hundred steps of training at the shared "
        "rate; mini-batches drawn with replacement",
        figure="gradient_estimate_error",
        numbers=gradient_estimate,
    ),
)


def figures(results: Results) -> dict[str, Figure]:
    """Error and speed against the batch size, on logarithmic axes; medians and ranges of the repetitions."""
    frame = measurement_of(results, NAME).frame
    errors, speeds = (_by_repetition(frame, metric).T for metric in (ERROR, SPEED))
    figure, [axes] = style.canvas(style.PAGE, 2.7, 1, 2)
    style.band(axes[0], errors, ARM, label=f"measured, {style.count(errors.shape[1], 'network')}")
    sizes = errors.index.to_numpy(dtype=float)
    # The line has the slope that the rule expects; its height is fitted to the measured errors.
    expected = sizes**RULE.expected
    level = np.exp(np.log(errors.median(axis=1).to_numpy() / expected).mean())
    axes[0].plot(sizes, level * expected, "--", color=style.OTHER_COLOURS[0], label="one over the root of the size")
    axes[0].set(ylabel="relative error of the gradient")
    style.band(axes[1], speeds, ARM, label="speed in a batch")
    single = float(speeds.median(axis=1).iloc[0])
    axes[1].axhline(single, color=style.OTHER_COLOURS[0], linestyle=":", label=f"speed {speeds.index[0]} at a time")
    axes[1].set(ylabel="examples a second")
    for panel in axes:
        panel.set(xscale="log", yscale="log", xlabel="examples a batch", xlim=(sizes[0], sizes[-1]))
        panel.set_xticks(sizes[::2], [f"{size:,.0f}" for size in sizes[::2]])
        panel.minorticks_off()
    style.legend_below(figure, axes, 4)
    style.panel_letters(axes, ["error against the full gradient", "speed of forward and backward pass"])
    figure.suptitle(f"{frame['data'].iloc[0]}; without BN; median and range")
    return {"gradient_estimate_error": figure}


DECLARED = Experiment(NAME, 280, CLAIMS, figures, any_normaliser=False)
