"""Readers, after Santurkar et al. 2018: is the loss smoother along the step that training takes?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bnrepro.claims import paired, style
from bnrepro.claims.claim import Claim, Evidence, Experiment, NotRun, paired_runs, tables_of
from bnrepro.stats import (
    BASELINE,
    CONTRADICTED,
    INCONCLUSIVE,
    SUPPORTED,
    Below,
    Estimate,
    Interval,
    Pairs,
    pair_by_seed,
)
from bnrepro.stats.pairing import geometric_means, points_below, quarter, ratio, with_values
from bnrepro.tables import Results

NAME, INCEPTION, PROBE = "landscape", "landscape_inception", "landscape"
RULE = Below(1.0)
DECIDING, SLOPE = "loss range", "norm of the gradient"
MEASURES = {
    DECIDING: "loss_range",
    "largest change of the gradient": "change_high",
    "mean change of the gradient": "change_mean",
    "effective β-smoothness": "smoothness",
    SLOPE: "gradient",
}
"""A measure's name in the report → the probe's column."""
SHORT = dict(
    zip(
        MEASURES,
        ("range of\nthe loss", "gradient,\nlargest change", "gradient,\nmean change", "effective\nβ-smoothness",
         "norm of\nthe gradient"),
        strict=True,
    )
)  # fmt: skip
"""A measure's name beside its row."""
SIDES = {"Smaller": SUPPORTED, "Larger": CONTRADICTED, "No difference seen": INCONCLUSIVE}


def smoother_landscape(results: Results) -> Evidence:
    tables, pairs = paired_runs(results, NAME, PROBE)
    seen, arm = tables.probes[PROBE], results.treatment
    ranges = geometric_means(seen, MEASURES[DECIDING])
    complete = with_values(pairs, ranges)
    if not len(complete):
        raise NotRun(NAME, f"no seed has a loss range above 0 at every point with both none and {arm}")
    ratios, beside = _ratios(complete, seen), _on_inception(results)
    estimates = [Estimate(f"ratio of the {DECIDING}", arm, ratios[DECIDING], True)]
    for name, rows in (("first", quarter(seen)), ("last", quarter(seen, last=True))):
        if (part := ratio(complete, rows, MEASURES[DECIDING])) is not None:
            estimates.append(Estimate(f"ratio of the {DECIDING}, {name} quarter of the steps", arm, part))
    estimates += [Estimate(f"ratio of the {name}", arm, found) for name, found in ratios.items() if name != DECIDING]
    estimates += complete.each(f"{DECIDING} (nats)", ranges, arm, "number")
    estimates += [Estimate(f"ratio of the {name}, the small Inception", arm, found) for name, found in beside.items()]
    below, points = points_below(complete, seen, MEASURES[DECIDING])
    notes = [
        *complete.notes,
        f"With {arm} the loss range is the smaller one at {below} of {points} points of training (geometric mean of "
        "the seeds).",
    ]
    if (slopes := ratios.get(SLOPE)) is not None:
        notes.append(
            "To first order the loss changes along the gradient by its squared norm for every unit of the rate: the "
            f"size of the gradients alone would give a ratio of {slopes.value**2:.3g}. " + _curved(complete, seen)
        )
    notes += _summary("the network of §4.1", arm, ratios) + _summary("the small Inception", arm, beside)
    return Evidence(estimates, notes, complete.listed(ranges, "ratio"), complete.treatment_diverged)


def _ratios(pairs: Pairs, seen: pd.DataFrame) -> dict[str, Interval]:
    """Ratio, treatment over baseline, of every measure that some seed of ``pairs`` has in both arms."""
    found = {name: ratio(pairs, seen, column) for name, column in MEASURES.items()}
    return {name: interval for name, interval in found.items() if interval is not None}


def _on_inception(results: Results) -> dict[str, Interval]:
    """The same ratios on the small Inception; none where it has not been run."""
    try:
        tables, pairs = paired_runs(results, INCEPTION, PROBE)
    except NotRun:
        return {}
    return _ratios(pairs, tables.probes[PROBE])


def _summary(network: str, arm: str, ratios: dict[str, Interval]) -> list[str]:
    """The measures that the rule would call smaller, larger, or undecided."""
    told = []
    for side, verdict in SIDES.items():
        names = [name for name, interval in ratios.items() if RULE.verdict(interval) == verdict]
        told += [f"{side}: {', '.join(names)}."] if names else []
    return [f"On {network}, with {arm}. {' '.join(told)}"] if told else []


def _curved(pairs: Pairs, seen: pd.DataFrame) -> str:
    """How far the steps are from first order: the rate times the effective smoothness, in both arms."""
    reach = geometric_means(seen.assign(reach=seen["rate"] * seen["smoothness"]), "reach")
    without, treated = (np.exp(np.log(arm).mean()) for arm in (pairs.without(reach), pairs.treated(reach)))
    return (
        f"The rate times the effective β is {without:.3g} without and {treated:.3g} with: on a quadratic, a step of "
        "one rate can pass the bottom only if that is above 1, and end higher than it began only if it is above 2."
    )


CLAIMS = (
    Claim(
        slug="smoother_landscape",
        group="D",
        origin="readers",
        sentence="With Batch Normalization the loss varies less along the step that training takes.",
        source="readers; Santurkar et al. 2018, Fig. 4",
        metric="ratio, with BN over without, of the range of the loss over steps of 1/2 to 4 learning rates along the "
        "negative gradient, geometric mean of 20 points of training",
        unit="ratio",
        network="MLP of §4.1",
        rule=RULE,
        paper="not in the paper; the follow-up shows it for VGG on CIFAR-10, without a number",
        deviation="the network of §4.1 for 10,000 steps at the learning rate and initialisation that are best without "
        "BN; seven step lengths, the start not among them; beside it a small Inception on 32×32 images for two epochs",
        figure="landscape_ranges",
        numbers=smoother_landscape,
    ),
)


def figures(results: Results) -> dict[str, Figure]:
    return ranges(results, NAME)


def ranges(results: Results, experiment: str) -> dict[str, Figure]:
    """For one experiment: (a) the range of the loss, as in Fig. 4 of Santurkar et al. 2018, median over the seeds;
    (b) its ratio, seed by seed; (c) the ratios of all measures."""
    tables = tables_of(results, experiment, PROBE)
    seen = tables.probes[PROBE]
    if seen.empty:
        return {}
    figure, [axes] = style.canvas(style.PAGE, 2.7, 1, 3, width_ratios=(1, 1, 0.9))
    column = MEASURES[DECIDING]
    found: dict[str, dict[str, Interval]] = {name: {} for name in MEASURES}
    for arm in style.arms_of(tables, results.treatment):
        curves = seen[seen["arm"] == arm].pivot(index="step", columns="run", values=column)
        axes[0].plot(
            curves.index, curves.median(axis=1), style.line(arm), color=style.colour(arm), label=style.name(arm)
        )
        pairs = pair_by_seed(tables.runs, arm)
        if arm == BASELINE or not len(pairs):
            continue
        every = _ratios(pairs, seen)
        for name, each in every.items():
            found[name][arm] = each
        curves = seen.pivot(index="step", columns="run", values=column)
        paired.over_steps(axes[1], paired.ratios(pairs, curves), arm, every.get(DECIDING), log=True)
    paired.forest(axes[2], {SHORT[name]: each for name, each in found.items() if each})
    axes[0].set(ylabel="range of the loss (nats)", yscale="log")
    axes[1].set(ylabel="range, over that without", yscale="log")
    axes[1].axhline(1, **style.GUIDE)
    for panel in axes[:2]:
        style.decimals(panel.yaxis)
        panel.set(xlabel="training steps", xlim=(0, max(seen["step"].max(), 1)))
        style.thousands(panel)
    axes[2].set_xlabel("over that without")
    style.legend_below(figure, axes[0], 4)
    style.panel_letters(axes, ["range of the loss", "seed by seed", "all measures"])
    seeds = tables.runs["seed"].nunique()
    compared = "; (b), (c): mean ratio with its 95% interval" if seeds > 1 else ""
    figure.suptitle(f"{tables.data_label}, {style.count(seeds, 'seed')}: along the negative gradient{compared}")
    return {f"{experiment}_ranges": figure}


DECLARED = Experiment(NAME, 290, CLAIMS, figures, draws_all=True)
