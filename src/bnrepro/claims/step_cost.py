"""Readers: a step costs more with Batch Normalization. Beside it, what a user pays: the time to an accuracy."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnrepro.claims import paired, style
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
        sentence="A training step takes longer with Batch Normalization.",
        source="readers",
        metric="ratio of the time of a training step, with BN over without, network of §4.1",
        unit="ratio",
        network="MLP of §4.1",
        counts="rounds",
        rule=RULE,
        paper="not in the paper; readers say it without a number",
        deviation="the library's kernel, one CPU thread, mini-batches of 60 (of 32 for the Inception, on digits "
        "enlarged to 32×32×3); slices of both arms in turn in one process, the ratio formed in each round",
        figure="step_cost_ratio",
        numbers=step_cost,
    ),
)


def figures(results: Results) -> dict[str, Figure]:
    """(a) the ratios on a logarithmic axis around 1, (b) every round's times."""
    frame = measurement_of(results, NAME).frame
    figure, [axes] = style.canvas(style.PAGE, 2.3, 1, 2)
    rounds = frame["round"].nunique()
    paired.forest(axes[0], _compared(costs(results, frame)))
    axes[0].set_xlabel("with BN over without" + (" (95% interval)" if rounds > 1 else ""))
    _times(axes[1], frame)
    style.panel_letters(axes, ["cost of a step, and of an accuracy", f"{style.count(rounds, 'round')} of both in turn"])
    data = "; ".join(
        f"{_network(model)}: {', '.join(rows['data'].unique())}" for model, rows in frame.groupby("model", sort=False)
    )
    figure.suptitle(f"{data}; one training step, one CPU thread")
    return {"step_cost_ratio": figure}


def _network(model: object) -> str:
    return {"mlp": "MLP", "inception": "Inception"}.get(str(model), str(model))


def _times(axes: Axes, frame: pd.DataFrame) -> None:
    groups = [
        ((str(rows["model"].iloc[0]), str(rows["arm"].iloc[0])), rows["seconds"])
        for _, rows in frame.groupby(["model", "arm"], sort=False)
    ]
    for row, ((_, arm), seconds) in enumerate(groups):
        milliseconds, shade = 1000 * seconds.to_numpy(), style.colour(arm)
        axes.plot(milliseconds, np.full(len(seconds), row), "o", color=shade, markersize=3, alpha=0.5)
        axes.plot([milliseconds.mean()], [row], "|", color=shade, markersize=12, markeredgewidth=1.4)
    several = frame["model"].nunique() > 1
    labels = [f"{_network(model)}, {style.name(arm)}" if several else style.name(arm) for (model, arm), _ in groups]
    axes.set_yticks(range(len(groups)), labels)
    axes.tick_params(axis="y", length=0)
    axes.set(xlabel="milliseconds a step (bar: mean)", ylim=(len(groups) - 0.5, -0.5))
    if several:  # the models' steps differ by orders of magnitude
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
    else:
        axes.set_xlim(0, None)


def _compared(found: Costs) -> dict[str, dict[str, Interval]]:
    rows = {f"a step, {_network(model)}": arms for model, arms in found.step.items()}
    if found.accuracy is not None:
        rows["steps to the plain MLP's accuracy"] = {ARM: found.accuracy.steps}
        rows["time to it"] = {ARM: found.accuracy.time}
    return rows


DECLARED = Experiment(NAME, 240, CLAIMS, figures, any_normaliser=False)
