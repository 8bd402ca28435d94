"""The paper's title against its follow-up: does Batch Normalization reduce internal covariate shift?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bnrepro import stats
from bnrepro.claims import paired, style
from bnrepro.claims.claim import Claim, Evidence, Experiment, NotRun, paired_runs, tables_of
from bnrepro.stats import (
    BASELINE,
    CONTRADICTED,
    INCONCLUSIVE,
    SUPPORTED,
    Above,
    Below,
    Estimate,
    Interval,
    Rule,
    pair_by_seed,
    times,
)
from bnrepro.stats.pairing import geometric_means, means, quarter, ratio, with_values
from bnrepro.tables import Results, Tables

NAME, PROBE, NOISY = "shift", "shift", "batch_noisy"
LESS, MORE, HIGHER = Below(1.0), Above(1.0), Above(0.0)
"""The claim's rule, its opposite, and the rule for a difference."""
AS_WELL = 0.01
"""One network does "as well as" another within this difference in final test accuracy. Fixed before the runs."""
DISTANCE, REDRAWN = "distance", "redrawn_distance"
RATIO = "ratio of the L2 change of the gradient"
NOISY_RATIOS = {RATIO: DISTANCE, "ratio of the L2 change with the noise of the next step before the layer": REDRAWN}


def covariate_shift(results: Results) -> Evidence:
    tables, pairs = paired_runs(results, NAME, PROBE)
    seen, arm = later_layers(tables), results.treatment
    distances = geometric_means(seen, DISTANCE)
    complete = with_values(pairs, distances)
    if not len(complete):
        raise NotRun(NAME, f"no seed has a change of the gradient at every point with both none and {arm}")
    primary = complete.ratio(distances)
    estimates = [Estimate(RATIO, arm, primary, True)]
    relative = seen.assign(relative=seen[DISTANCE] / seen["gradient"])
    further = {
        "ratio of the L2 change, in norms of the gradient": (relative, "relative"),
        "ratio of the norm of the gradient": (seen, "gradient"),
        "ratio of the L2 change, first quarter of the steps": (quarter(seen), DISTANCE),
        "ratio of the L2 change, last quarter of the steps": (quarter(seen, last=True), DISTANCE),
    }
    for name, layer in seen.groupby("name", sort=False):
        further[f"ratio of the L2 change, {name}"] = (layer, DISTANCE)
    estimates += [
        Estimate(name, arm, found)
        for name, (rows, column) in further.items()
        if (found := ratio(complete, rows, column)) is not None
    ]
    accounts = _by_distance(primary, ratio(complete, relative, "relative"), ratio(complete, seen, "gradient"))
    cosines = means(seen, "cosine")
    angled = with_values(complete, cosines)
    if len(angled):
        turned = angled.difference(cosines)
        estimates.append(Estimate("cosine, difference", arm, turned, unit="number"))
        estimates += angled.each("cosine of the gradient before and after", cosines, arm, "number")
        said = "The paper, by the gradient's direction alone: it turns less."
        measure = "with BN minus without, the cosine of the gradient before and after is"
        accounts.append(Account(said, measure, turned, HIGHER, "number"))
    beside, told = _with_noise(results, tables, seen)
    # The accounts are about Batch Normalization, not about any other normaliser.
    notes = [account.sentence() for account in accounts + told] if arm == "batch" else []
    rows = complete.listed(distances, "ratio")
    return Evidence(estimates + beside, [*complete.notes, *notes], rows, complete.treatment_diverged)


def later_layers(tables: Tables) -> pd.DataFrame:
    """The probe's rows of all layers but the first, which no earlier layer can shift."""
    seen = tables.probes[PROBE]
    return seen[seen["layer"] > 0]


# --------------------------------------------------------------------------------------------------- accounts


@dataclass(frozen=True)
class Account:
    """A statement about Batch Normalization, the number that decides it, and the rule for that number.

    ``but`` warns against reading too much into the outcome.
    """

    said: str
    measure: str
    interval: Interval
    rule: Rule
    unit: str = "ratio"
    but: str = ""

    def sentence(self) -> str:
        outcome = OUTCOMES[self.rule.verdict(self.interval)]
        shown = SHOWN[self.unit](self.interval)
        return f"{self.said} **{outcome} here**: {self.measure} {shown}.{self.but}"


OUTCOMES = {SUPPORTED: "This holds", CONTRADICTED: "This fails", INCONCLUSIVE: "Undecided"}


def _by_distance(raw: Interval, relative: Interval | None, norms: Interval | None) -> list[Account]:
    """The paper's and the follow-up's accounts, by the L2 distance and by the distance in norms of the gradient."""
    change = "with BN over without, the L2 change of the gradient is"
    size = "" if norms is None else f" The norm of the gradient itself is {times(norms)}, with BN over without."
    accounts = [
        Account("The paper, by the L2 distance: BN reduces internal covariate shift.", change, raw, LESS, but=size),
        Account("Santurkar et al. 2018, by the same: it does not, and often there is more of it.", change, raw, MORE),
    ]
    if relative is not None:
        said = "The paper, by the distance in norms of the gradient: BN reduces it."
        accounts.append(Account(said, "with BN over without, it is", relative, LESS))
    return accounts


def _with_noise(results: Results, tables: Tables, seen: pd.DataFrame) -> tuple[list[Estimate], list[Account]]:
    """Estimates and accounts of the arm with injected noise: how far its gradients move, and how it ends."""
    estimates: list[Estimate] = []
    accounts: list[Account] = []
    accuracy = stats.final(stats.curve(tables.metrics, "test", "accuracy"))
    to_plain = pair_by_seed(tables.runs, NOISY)
    to_treated = pair_by_seed(tables.runs, NOISY, baseline=results.treatment)
    differs = "its final test accuracy differs by"
    if len(to_plain):
        for name, column in NOISY_RATIOS.items():
            found = ratio(to_plain, seen, column)
            if found is None:
                continue
            own = ratio(to_treated, seen, column) if len(to_treated) else None
            estimates.append(Estimate(name, NOISY, found))
            if own is not None:
                estimates.append(Estimate(f"{name}, over {results.treatment}'s", NOISY, own))
            if column == REDRAWN:
                said = "With noise after BN there is more of the shift than without BN."
                measure = "over the plain network's, the L2 change, noise of the next step included, is"
                accounts.append(Account(said, measure, found, MORE))
                if own is not None:
                    said = "And more than with BN alone: the noise, not only BN, makes it."
                    accounts.append(Account(said, "over BN's, it is", own, MORE))
        gain = to_plain.difference(accuracy)
        estimates += to_plain.each("final test accuracy", accuracy, NOISY, "share")
        estimates.append(Estimate("final test accuracy, difference to none", NOISY, gain, unit="difference"))
        said = "Santurkar et al. 2018: with this noise the network still does better than without BN."
        accounts.append(Account(said, differs, gain, HIGHER, "difference"))
    if len(to_treated):
        gap = to_treated.difference(accuracy)
        treated = stats.paired_difference(to_treated.without(accuracy))
        estimates.append(Estimate("final test accuracy", results.treatment, treated, unit="share"))
        name = f"final test accuracy, difference to {results.treatment}"
        estimates.append(Estimate(name, NOISY, gap, unit="difference"))
        said = "Santurkar et al. 2018: and as well as with BN alone, here to within a point."
        but = _too_wide(tables, results.treatment, accuracy)
        accounts.append(Account(said, differs, gap, Above(-AS_WELL), "difference", but))
    return estimates, accounts


def _too_wide(tables: Tables, treatment: str, accuracy: pd.Series) -> str:
    """A warning if BN's own gain also lies within the margin, else an empty text."""
    plain = pair_by_seed(tables.runs, treatment)
    if not len(plain):
        return ""
    gain = plain.difference(accuracy)
    if not all(rule.verdict(gain) == SUPPORTED for rule in (Above(-AS_WELL), Below(AS_WELL))):
        return ""
    return f" This margin does not tell BN from no BN either: BN's own gain is {_points(gain)}."


def _points(interval: Interval) -> str:
    value, low, high = (f"{100 * each:+.2f}" for each in (interval.value, interval.low, interval.high))
    return f"{value} points" + (f" ({low} to {high})" if interval.n > 1 else "")


def _number(interval: Interval) -> str:
    value, low, high = (f"{each:+.3f}" for each in (interval.value, interval.low, interval.high))
    return value + (f" ({low} to {high})" if interval.n > 1 else "")


SHOWN = {"ratio": times, "difference": _points, "number": _number}
"""Unit → how a sentence prints a number in it."""


CLAIMS = (
    Claim(
        slug="covariate_shift",
        group="D",
        origin="paper",
        sentence="Batch Normalization reduces internal covariate shift.",
        source="the title, §1; Santurkar et al. 2018, §2.2",
        metric="ratio, with BN over without, of the L2 change of a layer's gradient by the updates of the layers "
        "before it, geometric mean of all layers but the first and of 20 points of training",
        unit="ratio",
        network="MLP of §4.1",
        rule=LESS,
        paper="argued, not measured; the follow-up measures it, and finds no reduction",
        deviation="the shift is that of the follow-up's Definition 2.1: the gradient of a layer's weights, on the same "
        "mini-batch, before and after the layers before it made their gradient step; the network of §4.1 for 10,000 "
        "steps at the learning rate and initialisation that are best without BN. The injected noise and its "
        "constants are those of the follow-up's appendix A.2",
        figure="shift_gradients",
        numbers=covariate_shift,
    ),
)


def figures(results: Results) -> dict[str, Figure]:
    """Every arm against the plain network, seed by seed, over all layers but the first: L2 change, cosine, accuracy."""
    tables = tables_of(results, NAME, PROBE)
    seen = later_layers(tables)
    if seen.empty:
        return {}
    figure, [axes] = style.canvas(style.PAGE, 2.8, 1, 3)
    moved = _over_layers(seen, DISTANCE)
    turned = seen.groupby(["step", "run"])["cosine"].mean().unstack()
    accuracy = 100 * style.late(stats.curve(tables.metrics, "test", "accuracy"))
    for arm in style.arms_of(tables, results.treatment):
        pairs = pair_by_seed(tables.runs, arm)
        if arm == BASELINE or not len(pairs):
            continue
        paired.over_steps(axes[0], paired.ratios(pairs, moved), arm, ratio(pairs, seen, DISTANCE), log=True)
        paired.over_steps(axes[1], paired.differences(pairs, turned), arm)
        paired.over_steps(axes[2], paired.differences(pairs, accuracy), arm)
    plain = style.plain()
    labels = (f"over that {plain}", f"minus that {plain}", f"points, minus that {plain}")
    for panel, label, level in zip(axes, labels, (1, 0, 0), strict=True):
        panel.axhline(level, **style.GUIDE)
        panel.set(xlabel="training steps", ylabel=label, xlim=(0, max(seen["step"].max(), 1)))
        style.thousands(panel)
    axes[0].set(yscale="log")
    style.decimals(axes[0].yaxis)
    style.legend_below(figure, axes[0], 4)
    style.panel_letters(axes, ["L2 change of the gradient", "its cosine", "test accuracy, after a tenth"])
    seeds = tables.runs["seed"].nunique()
    compared = "; mean of the seeds with its 95% interval" if seeds > 1 else ""
    figure.suptitle(
        f"{tables.data_label}, {style.count(seeds, 'seed')}: a layer's gradient after the updates of the layers before "
        f"it{compared}"
    )
    return {"shift_gradients": figure}


def _over_layers(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Geometric mean over the layers: steps (rows) × runs (columns). Layers at 0 are left out."""
    logs = rows.assign(log=rows[column].where(rows[column] > 0).apply(np.log))
    return logs.groupby(["step", "run"])["log"].mean().unstack().apply(np.exp)


DECLARED = Experiment(NAME, 310, CLAIMS, figures, arms=(NOISY,), draws_all=True)
