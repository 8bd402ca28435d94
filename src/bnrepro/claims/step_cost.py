"""Readers: a step costs more with Batch Normalization. Beside it, what a user pays: the time to an accuracy."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnrepro.claims import style
from bnrepro.claims.claim import Claim, Evidence, Experiment, Inapplicable, NotRun, measurement_of
from bnrepro.claims.mnist_training.numbers import faster_training
from bnrepro.stats import BASELINE, Above, Estimate, Interval, paired_difference, paired_ratio
from bnrepro.tables import Results

NAME = "step_cost"
RULE = Above(1.0)
MODEL, ARM = "mlp", "batch"
"""The network of §4.1 with Batch Normalization decides. The others are printed beside it."""
SPARED, MISSING_CORE = 0.9, "the process had a core for only {:.0%} of the time: take the milliseconds with care"
STEPS, TIME = "ratio of steps to the plain network's final test accuracy", "ratio of time to it"


@dataclass(frozen=True)
class ToAccuracy:
    """Cost of the plain network's final accuracy, with Batch Normalization over without, in steps and in time."""

    steps: Interval
    time: Interval


@dataclass(frozen=True)
class Costs:
    """``step`` is the time of a step over the plain network's, by model and arm.

    ``accuracy`` is None for another treatment, and where mnist_training is not run; ``notes`` then give the reason.
    """

    step: dict[str, dict[str, Interval]]
    accuracy: ToAccuracy | None = None
    notes: list[str] = field(default_factory=list)


def costs(results: Results, frame: pd.DataFrame) -> Costs:
    """The ratios that the estimates print and the figure draws.

    Raises :class:`Inapplicable` if the deciding network was not timed with and without Batch Normalization.
    """
    if not {BASELINE, ARM} <= set(frame.loc[frame["model"] == MODEL, "arm"]):
        raise Inapplicable(f"the table of {NAME} has no times of {MODEL} with both {BASELINE} and {ARM}")
    step = {}
    for model, seconds in _seconds(frame).items():
        treated = [arm for arm in seconds if arm != BASELINE]
        step[model] = {str(arm): paired_ratio(seconds[arm], seconds[BASELINE]) for arm in treated}
    if results.treatment != ARM:
        return Costs(step)
    try:
        faster = faster_training(results)
    except NotRun as reason:
        return Costs(step, notes=[f"time to accuracy: {reason}"])
    assert faster.primary is not None
    assert faster.seeds is not None
    time = paired_ratio(step[MODEL][ARM].value * faster.seeds["with"], faster.seeds["without"])
    explained = "the time to the accuracy is the ratio of steps, seed by seed, times the ratio above"
    return Costs(step, ToAccuracy(faster.primary.interval, time), [explained, *faster.notes])


def _seconds(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Seconds per step, by model: rounds (rows) × arms (columns)."""
    return {
        str(model): rows.pivot(index="round", columns="arm", values="seconds")
        for model, rows in frame.groupby("model", sort=False)
    }


def step_cost(results: Results) -> Evidence:
    frame = measurement_of(results, NAME).frame
    found = costs(results, frame)
    estimates, notes = [], list(found.notes)
    for model, seconds in _seconds(frame).items():
        for arm, ratio in found.step[model].items():
            decides = (model, arm) == (MODEL, ARM)
            estimates.append(Estimate(f"ratio of a step's time, {model}", arm, ratio, decides))
        for arm in seconds:
            each = paired_difference(1000 * seconds[arm])
            estimates.append(Estimate(f"milliseconds a step, {model}", str(arm), each, unit="number"))
    if found.accuracy is not None:
        estimates.append(Estimate(STEPS, ARM, found.accuracy.steps))
        estimates.append(Estimate(TIME, ARM, found.accuracy.time))
    core = float(frame["core"].min())
    if core < SPARED:
        notes.append(MISSING_CORE.format(core))
    listed = frame.pivot(index="round", columns=["model", "arm"], values="seconds") * 1000
    listed = listed.set_axis([f"{model}, {arm}: ms a step" for model, arm in listed.columns], axis=1)
    return Evidence(estimates, notes, listed)


CLAIMS = (
    Claim(
        slug="step_cost",
        group="C",
        origin="readers",
        sentence="A training step is dearer with Batch Normalization.",
        source="readers",
        metric="ratio of the time of a training step, with BN over without, network of §4.1",
        unit="ratio",
        rule=RULE,
        paper="not in the paper; readers say it without a number",
        deviation="the library's kernel, one CPU thread, mini-batches of 60 (of 32 for the Inception, on digits "
        "enlarged to 32×32×3); slices of both arms in turn in one process, the ratio formed in each round",
        figure="step_cost_ratio",
        numbers=step_cost,
    ),
)


def figures(results: Results) -> dict[str, Figure]:
    """(a) every round's times, (b) the ratios on a logarithmic axis around 1."""
    frame = measurement_of(results, NAME).frame
    figure, [axes] = style.canvas(style.PAGE, 1.9, 1, 2)
    _times(axes[0], frame)
    _ratios(axes[1], costs(results, frame))
    style.panel_letters(axes, [f"{frame['round'].nunique()} rounds of both in turn", "with BN over without"])
    data = "; ".join(
        f"{model}: {', '.join(rows['data'].unique())}" for model, rows in frame.groupby("model", sort=False)
    )
    figure.suptitle(f"{data}; one training step, one CPU thread")
    return {"step_cost_ratio": figure}


def _times(axes: Axes, frame: pd.DataFrame) -> None:
    groups = [
        ((str(rows["model"].iloc[0]), str(rows["arm"].iloc[0])), rows["seconds"])
        for _, rows in frame.groupby(["model", "arm"], sort=False)
    ]
    for row, ((_, arm), seconds) in enumerate(groups):
        milliseconds, shade = 1000 * seconds.to_numpy(), style.colour(arm)
        axes.plot(milliseconds, np.full(len(seconds), row), "o", color=shade, markersize=3.5, alpha=0.5)
        axes.plot([milliseconds.mean()], [row], "|", color=shade, markersize=14, markeredgewidth=1.4)
    several = frame["model"].nunique() > 1
    labels = [f"{model}: {style.name(arm)}" if several else style.name(arm) for (model, arm), _ in groups]
    axes.set_yticks(range(len(groups)), labels)
    axes.set(xlabel="milliseconds a step (bar: mean)", ylim=(len(groups) - 0.5, -0.5))
    if several:  # the models' steps differ by orders of magnitude
        axes.set_xscale("log")
    else:
        axes.set_xlim(0, None)


def _ratios(axes: Axes, found: Costs) -> None:
    ratios = [
        (f"time of a step,\n{model}", arm, interval)
        for model, arms in found.step.items()
        for arm, interval in arms.items()
    ]
    if found.accuracy is not None:
        ratios.append(("steps to the accuracy\nof the plain network", ARM, found.accuracy.steps))
        ratios.append(("time to that accuracy", ARM, found.accuracy.time))
    for row, (_, arm, each) in enumerate(ratios):
        axes.plot([each.low, each.high], [row, row], color=style.colour(arm), linewidth=1.4)
        axes.plot([each.value], [row], "o", color=style.colour(arm), markersize=4.5)
        axes.annotate(
            f"{each.value:.2f}×", (each.value, row), (0, 5), textcoords="offset points", ha="center", fontsize=7.5,
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"},
        )  # fmt: skip
    axes.axvline(RULE.margin, **style.GUIDE)
    axes.set_yticks(range(len(ratios)), [label for label, _, _ in ratios])
    axes.set(xscale="log", xlabel="ratio (95% interval)", ylim=(len(ratios) - 0.5, -0.6))
    bounds = np.array([(each.low, each.value, each.high) for _, _, each in ratios])
    low, high = min(0.5, 0.85 * float(np.nanmin(bounds))), max(2.0, 1.15 * float(np.nanmax(bounds)))
    ticks = [2.0**power for power in range(-6, 7) if low <= 2.0**power <= high]
    axes.set_xlim(low, high)
    axes.set_xticks(ticks, [f"{tick:g}" if tick >= 1 else f"1/{1 / tick:g}" for tick in ticks])
    axes.minorticks_off()


DECLARED = Experiment(NAME, 240, CLAIMS, figures, any_normaliser=False)
