"""§4.2.1: the learning rate at which the Inception stops training, with Batch Normalization and without."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from bnrepro import stats
from bnrepro.claims import inception_training as full
from bnrepro.claims import style, sweeps
from bnrepro.claims.claim import Claim, Evidence, Experiment, NotRun, tables_of
from bnrepro.stats import BASELINE, Estimate
from bnrepro.stats.ladder import Beyond, Bracket, across_seeds, bracket, ratio
from bnrepro.stats.selection import RATE, ends
from bnrepro.tables import Results

NAME, TREATMENT = "rate_ladder", "batch"
BASE = 0.02
"""Inception's learning rate, the best on validation without BN: the first rung."""
TRAINS, STRICTER = full.CHANCE + full.ABOVE_CHANCE, 0.3
"""A run trains if its final test accuracy is five points above chance. The stricter bar stands beside."""
RULE = Beyond(3.0, null=1.0)
"""The margin of higher_learning_rates. In the paper ×5 fails without BN and ×30 trains with it: a ratio above 6."""
STEP_OUT = 1.6
"""How far the figure's axis reaches beyond the ladder, as a factor."""
CHANGED = (
    "declared first as the share of seeds that fail at five times the rate, of which five seeds could decide nothing "
    "(none failed); posed as a ladder of rates after those runs, and before its own"
)


def plain_diverges(results: Results) -> Evidence:
    runs = rungs(results)
    without, treated = limits(runs, BASELINE), limits(runs, TREATMENT)
    seeds = sorted(set(without) & set(treated))
    if not seeds:
        raise NotRun(NAME, f"no seed has both {BASELINE} and {TREATMENT}")
    apart = across_seeds([ratio(treated[seed], without[seed]) for seed in seeds])
    estimates = [
        Estimate(
            "ratio of the rates at which the Inception stops training, with BN over without", TREATMENT, apart, True
        )
    ]
    for arm, found in ((BASELINE, without), (TREATMENT, treated)):
        own = across_seeds([found[seed] for seed in seeds])
        estimates.append(Estimate("multiple of Inception's rate at which it stops training", arm, own))
    harder = [ratio(limits(runs, TREATMENT, STRICTER)[seed], limits(runs, BASELINE, STRICTER)[seed]) for seed in seeds]
    estimates.append(
        Estimate(f"the ratio, where training asks for {STRICTER:.0%} accuracy", TREATMENT, across_seeds(harder))
    )
    estimates += _whole_training(results)
    rows = pd.DataFrame({
        f"{label}, {end}": {seed: getattr(found[seed], side) for seed in seeds}
        for label, found in (("without", without), ("with", treated))
        for end, side in (("trains at ×", "low"), ("not at ×", "high"))
    }).rename_axis("seed")  # fmt: skip
    return Evidence(estimates, [*_fates(runs), CHANGED], rows)


def rungs(results: Results) -> pd.DataFrame:
    """The runs with their final test accuracy as ``end`` and their ``multiple`` of Inception's rate."""
    runs = ends(tables_of(results, NAME))
    return runs.assign(multiple=[float(f"{rate / BASE:.6g}") for rate in runs[RATE].astype(float)])


def limits(runs: pd.DataFrame, arm: str, bar: float = TRAINS) -> dict[int, Bracket]:
    """By seed, between which multiples of Inception's rate an arm stops training."""
    own = runs[runs["arm"] == arm]
    trains = (own["status"] == "finished") & (own["end"] >= bar)
    return {
        int(str(seed)): bracket(dict(zip(group["multiple"], trains[group.index], strict=True)))
        for seed, group in own.groupby("seed")
    }


def _fates(runs: pd.DataFrame) -> list[str]:
    """At which rungs an arm's loss is not finite, and at which it stays at chance: in how many of the seeds."""
    notes = []
    for arm in (BASELINE, TREATMENT):
        told = []
        for multiple, group in runs[runs["arm"] == arm].groupby("multiple"):
            lost = int((group["status"] == "diverged").sum())
            stuck = int((group["end"] < TRAINS).sum())
            words = [f"{lost} diverge"] * bool(lost) + [f"{stuck} end at chance"] * bool(stuck)
            if words:
                told.append(f"at ×{float(str(multiple)):g} {' and '.join(words)}")
        seeds = int(runs.loc[runs["arm"] == arm, "seed"].nunique())
        notes.append(f"{arm}: " + (f"of {seeds} seeds {', '.join(told)}" if told else "every run trains"))
    return notes


def _whole_training(results: Results) -> list[Estimate]:
    """The same question at ×5 over the whole length of inception_training, if it has been run."""
    tables = results.beside(full.NAME)
    if tables is None or full.PLAIN_X5 not in set(tables.runs["arm"]):
        return []
    runs = ends(tables)
    runs = runs[runs["arm"] == full.PLAIN_X5]
    failed = int(((runs["status"] == "diverged") | (runs["end"] < TRAINS)).sum())
    label = "share of seeds that do not train at ×5 in inception_training, which is longer"
    return [Estimate(label, full.PLAIN_X5, stats.share(failed, len(runs)), unit="share")]


CLAIMS = (
    Claim(
        slug="plain_diverges",
        group="A",
        origin="paper",
        sentence="Without Batch Normalization the Inception stops training at a lower learning rate than with it.",
        source="§4.2.1",
        metric="ratio of the learning rates at which the Inception stops training, BN-Baseline over Inception",
        unit="ratio",
        network="small Inception",
        rule=RULE,
        paper="at ×5 without BN the parameters reach machine infinity at once; with it, and other changes, ×30 trains",
        deviation=full.PROTOCOL
        + "; here only 3,000 steps, at 1, 2, 5, 10, 30 and 100 times the rate; a run trains if the mean of "
        "its last five evaluations on 2,000 fixed test images is five points above chance",
        figure="rate_ladder_accuracy",
        numbers=plain_diverges,
    ),
)


def figures(results: Results) -> dict[str, Figure]:
    """Final accuracy against the rate: a dot per seed, a line through their means; shaded, where training stops."""
    tables, runs = tables_of(results, NAME), rungs(results)
    figure, [[axes]] = style.canvas(style.PAGE, 2.9)
    axes.set(xscale="log", xlabel="learning rate, multiple of Inception's", ylabel="final test accuracy")
    shown = [arm for arm in (BASELINE, TREATMENT) if arm in set(runs["arm"])]
    lost: dict[str, dict[float, int]] = {}
    for arm in shown:
        own = runs[runs["arm"] == arm]
        diverged = own["status"] == "diverged"
        lost[arm] = {float(str(at)): int(number) for at, number in diverged.groupby(own["multiple"]).sum().items()}
        shade, baseline = style.colour(arm), arm == BASELINE
        label = style.name(arm)
        means = own.groupby("multiple")["end"].mean()
        axes.plot(means.index, means, style.line(arm), color=shade, label=label)
        face = "white" if baseline else shade
        axes.plot(own["multiple"], own["end"], sweeps.marker(arm), color=shade, markersize=4, markerfacecolor=face)
    multiples = sorted(set(runs["multiple"]))
    edges = multiples[0] / STEP_OUT, multiples[-1] * STEP_OUT
    for arm in shown:
        found = list(limits(runs, arm).values())
        low, high = min(each.low for each in found), max(each.high for each in found)
        label = f"{style.name(arm)}, training stops in this range"
        span = max(low, edges[0]), min(high, edges[1])
        axes.axvspan(*span, color=style.colour(arm), alpha=0.15, linewidth=0, label=label)
    top = runs["end"].max()
    axes.set(xlim=edges, ylim=(0, 1.1 * max(TRAINS, top if top > 0 else 0)))
    axes.set_xticks(multiples, [f"×{multiple:g}" for multiple in multiples])
    axes.minorticks_off()
    style.mark(axes, full.CHANCE, "chance")
    style.mark(axes, TRAINS, "trains above")
    sweeps.strips_above([axes], [lost], "seeds that diverged")
    style.legend_below(figure, axes, 2)
    seeds = runs["seed"].nunique()
    figure.suptitle(f"{tables.data_label}; {style.count(seeds, 'seed')}, a dot each, and their mean")
    return {"rate_ladder_accuracy": figure}


DECLARED = Experiment(NAME, 92, CLAIMS, figures, any_normaliser=False, arms=(BASELINE, TREATMENT))
