"""Readers: a step is dearer with Batch Normalization; and what a user pays, the time to an accuracy."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from bnrepro.claims.base import BASELINE, Claim, Estimate, Experiment, Judgement, Results, not_run
from bnrepro.claims.mnist_training import faster_training
from bnrepro.pictures import step_cost as pictures
from bnrepro.stats import Interval, paired_difference, paired_ratio, verdict

NAME = "step_cost"
MODEL, ARM = "mlp", "batch"
SPARED, MISSING_CORE = 0.9, "the process had a core for only {:.0%} of the time: take the milliseconds with care"


def step_cost(results: Results) -> Judgement:
    found = results.measured(NAME)
    if found is None:
        return not_run(NAME)
    frame = found.frame
    estimates, notes = [], []
    for model, rows in frame.groupby("model", sort=False):
        seconds = rows.pivot(index="round", columns="arm", values="seconds")
        for arm in (each for each in seconds if each != BASELINE):
            ratio = paired_ratio(seconds[arm].to_numpy(), seconds[BASELINE].to_numpy())
            decides = (model, arm) == (MODEL, ARM)
            estimates.append(Estimate(f"ratio of a step's time, {model}", str(arm), ratio, decides))
        for arm in seconds:
            each = paired_difference(1000 * seconds[arm].to_numpy())
            estimates.append(Estimate(f"milliseconds a step, {model}", str(arm), each, unit="number"))
    primary = next(each for each in estimates if each.primary).interval
    if results.treatment == ARM:
        beside, said = _time_to_accuracy(results, primary)
        estimates, notes = estimates + beside, notes + said
    core = float(frame["core"].min())
    if core < SPARED:
        notes.append(MISSING_CORE.format(core))
    listed = frame.pivot(index="round", columns=["model", "arm"], values="seconds") * 1000
    listed = listed.set_axis([f"{model}, {arm}: ms a step" for model, arm in listed.columns], axis=1)
    return Judgement(verdict(primary, zero=1, margin=1, claimed="above"), estimates, notes, listed)


def _time_to_accuracy(results: Results, cost: Interval) -> tuple[list[Estimate], list[str]]:
    """Steps to the plain network's accuracy, and those steps times what each costs; seeds are the pairs."""
    faster = faster_training(results)
    if faster.primary is None or faster.seeds is None:
        return [], [f"time to accuracy: {note}" for note in faster.notes]
    seeds: pd.DataFrame = faster.seeds
    time = paired_ratio(cost.value * seeds["with"].to_numpy(), seeds["without"].to_numpy())
    estimates = [
        Estimate(pictures.STEPS, ARM, faster.primary.interval),
        Estimate(pictures.TIME, ARM, time),
    ]
    return estimates, [
        "the time to the accuracy is the ratio of steps, seed by seed, times the ratio above",
        *faster.notes,
    ]


def figures(results: Results) -> dict[str, Figure]:
    return pictures.figures(results, step_cost(results).estimates)


CLAIMS = (
    Claim(
        slug="step_cost",
        group="C",
        sentence="A training step is dearer with Batch Normalization.",
        source="readers",
        experiment=NAME,
        metric="ratio of the time of a training step, with BN over without, network of §4.1",
        rule="ratio above 1",
        margin=1.0,
        paper="not in the paper; readers say it without a number",
        deviation="the library's kernel, one CPU thread, mini-batches of 60 (of 32 for the Inception, on digits "
        "enlarged to 32×32×3); slices of both arms in turn in one process, the ratio formed in each round",
        figure="step_cost_ratio",
        judge=step_cost,
    ),
)

DECLARED = Experiment(NAME, CLAIMS, figures, exam=False)
