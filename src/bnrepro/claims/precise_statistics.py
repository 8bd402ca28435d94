"""Readers: population statistics estimated anew beat the moving average, by more the smaller the mini-batch."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bnrepro.claims import style
from bnrepro.claims.claim import Claim, Evidence, Experiment, Inapplicable, measurement_of
from bnrepro.stats import Below, Estimate, Interval, paired_difference
from bnrepro.tables import Results

NAME = "precise_statistics"
ARM = "batch"
MOVING, PRECISE, LARGE = "moving average", "Algorithm 2", "Algorithm 2, large mini-batches"
RULE = Below(0.0)
LOOKS = {
    MOVING: ("moving average of training", style.OTHER_COLOURS[2], "-", "o"),
    PRECISE: ("Algorithm 2, mini-batches as in training", "#000000", "--", "s"),
    LARGE: ("Algorithm 2, mini-batches of 256", style.OTHER_COLOURS[0], ":", "D"),
}


def precise_statistics(results: Results) -> Evidence:
    frame = measurement_of(results, NAME).frame
    accuracy, notes = accuracies(frame)
    gains = accuracy[PRECISE] - accuracy[MOVING]
    sizes = list(gains.columns)
    if len(sizes) < 2:
        raise Inapplicable("no two mini-batch sizes at which a seed finished")
    slopes = gains.apply(slope, axis=1)
    smallest = paired_difference(gains[sizes[0]])
    unit = "gain of accuracy for every doubling of the mini-batch"
    estimates = [
        Estimate(f"{unit}, Algorithm 2 over moving average", ARM, paired_difference(slopes), True, "difference")
    ]
    for name in (PRECISE, LARGE):
        for size in sizes:
            gain = paired_difference((accuracy[name] - accuracy[MOVING])[size])
            estimates.append(
                Estimate(f"{name} minus moving average, {size} a mini-batch", ARM, gain, unit="difference")
            )
    for name in LOOKS:
        for size in sizes:
            mean = paired_difference(accuracy[name][size])
            estimates.append(Estimate(f"test accuracy, {name}, {size} a mini-batch", ARM, mean, unit="share"))
    beyond = paired_difference((accuracy[LARGE] - accuracy[MOVING]).apply(slope, axis=1))
    estimates.append(Estimate(f"{unit}, with large mini-batches in Algorithm 2", ARM, beyond, unit="difference"))
    [label] = frame["data"].unique()
    notes += [
        f"{label}; the networks with BN of batch_size after their last step, at the learning rate that is best on "
        "validation there for the mini-batch size, which was chosen with the moving average",
        "in Algorithm 2 as printed, each layer sees inputs that the layers before it normalised by mini-batches of the "
        "size trained with; with large ones, inputs nearly as at inference",
    ]
    return Evidence(estimates, notes, gains.add_prefix("gain at ").assign(slope=slopes), condition=_beats(smallest))


def accuracies(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Test accuracies: seeds (rows) × (statistics, mini-batch size) (columns), and notes on what is left out.

    A size at which a seed diverged is left out, so that all sizes have the same seeds.
    """
    lost = frame[frame["metric"] == "diverged"].groupby("batch")["seed"].nunique()
    notes = [
        f"{size} a mini-batch: {style.count(count, 'run')} diverged; this size is left out"
        for size, count in lost.items()
    ]
    kept = frame[(frame["metric"] == "accuracy") & ~frame["batch"].isin(lost.index)]
    if kept.empty:
        raise Inapplicable("at every mini-batch size a run diverged")
    return kept.pivot(index="seed", columns=["statistics", "batch"], values="value"), notes


def slope(gains: pd.Series) -> float:
    """Least-squares slope of a gain against log2 of the mini-batch size (index)."""
    return float(np.polyfit(np.log2(gains.index.to_numpy(dtype=float)), gains.to_numpy(dtype=float), 1)[0])


def _beats(gain: Interval) -> bool | None:
    """Whether Algorithm 2 beats the moving average at all: the whole interval on one side of 0, or undecided."""
    return True if gain.low > 0 else False if gain.high < 0 else None


CLAIMS = (
    Claim(
        slug="precise_statistics",
        group="C",
        origin="readers",
        sentence="Population statistics estimated anew after training beat the moving average kept in "
        "training, and by more the smaller the mini-batch.",
        source="Wu & Johnson 2021; §3.1, Algorithm 2",
        metric="slope of the gain in test accuracy, Algorithm 2 minus moving average, against log2 of the mini-batch "
        "size, 2 to 256; besides, the gain at the smallest size must be above 0 (contradicted if it is below)",
        unit="difference",
        network="MLP of §4.1",
        rule=RULE,
        paper="Algorithm 2 is the paper's; moving averages are mentioned, and not compared with it",
        deviation="the networks of batch_size, momentum 0.1, on MNIST instead of ImageNet; Algorithm 2 over 10,000 "
        "training examples in mini-batches of the size trained with",
        figure="precise_statistics_accuracy",
        numbers=precise_statistics,
    ),
)


def figures(results: Results) -> dict[str, Figure]:
    """Test accuracy by the statistics, and what Algorithm 2 gains on the moving average, against mini-batch size."""
    frame = measurement_of(results, NAME).frame
    accuracy, _ = accuracies(frame)
    sizes = sorted(accuracy[MOVING].columns)
    figure, [[level, gain]] = style.canvas(style.PAGE, 2.7, 1, 2)
    for name, (label, shade, dashes, marker) in LOOKS.items():
        curves = 100 * accuracy[name].T
        look = {"marker": marker, "markersize": 3.5, "fillstyle": "none"}
        style.median_and_range(level, curves, dashes, shade, label=label, **look)
        if name != MOVING:
            style.median_and_range(gain, curves - 100 * accuracy[MOVING].T, dashes, shade, **look)
    gain.axhline(0, **style.GUIDE)
    for panel in (level, gain):
        panel.set(xscale="log", xlabel="examples in a mini-batch of training")
        panel.set_xticks(sizes, [f"{size:g}" for size in sizes])
        panel.minorticks_off()
    level.set(ylabel="test accuracy, %")
    gain.set(ylabel="gain over the moving average, points")
    style.panel_letters([level, gain], ["accuracy", "gain of statistics estimated anew"])
    style.legend_below(figure, level, 3)
    networks = style.summary("median and range", frame["seed"].nunique())
    figure.suptitle(f"{frame['data'].iloc[0]}; {networks}")
    return {"precise_statistics_accuracy": figure}


DECLARED = Experiment(NAME, 255, CLAIMS, figures, any_normaliser=False)
