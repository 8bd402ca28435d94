"""The paper's title against its follow-up: does Batch Normalization reduce internal covariate shift?"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from bnrepro import stats
from bnrepro.claims.base import (
    Claim,
    Estimate,
    Experiment,
    Judgement,
    Pairs,
    Results,
    not_run,
    pair_by_seed,
    paired,
    unless_lost,
)
from bnrepro.claims.probed import geometric_means, means, quarter, ratio, times, with_values
from bnrepro.pictures import shift as pictures
from bnrepro.stats import Interval
from bnrepro.tables import Tables

EXPERIMENT, PROBE, NOISY = "shift", "shift", "batch_noisy"
AS_WELL = 0.01
"""Within this share of the final test accuracy one network does "as well as" another. Fixed before the runs."""


@dataclass(frozen=True)
class Account:
    """What somebody says, the number that decides it, and on which side of ``zero`` it then has to lie."""

    said: str
    measure: str
    interval: Interval
    claimed: str
    zero: float = 1.0
    unit: str = "ratio"
    but: str = ""
    """What it must not be taken for."""

    def sentence(self) -> str:
        sign = 1 if self.claimed == "above" else -1
        low, high = sorted((sign * self.interval.low, sign * self.interval.high))
        holds = "This holds" if low > sign * self.zero else "This fails" if high < sign * self.zero else "Undecided"
        shown = SHOWN[self.unit](self.interval)
        return f"{self.said} **{holds} here**: {self.measure} {shown}.{self.but}"


@paired(EXPERIMENT, probe=PROBE)
def covariate_shift(results: Results, tables: Tables, pairs: Pairs) -> Judgement:
    seen, arm = later_layers(tables), results.treatment
    distances = geometric_means(seen, "distance")
    complete = with_values(pairs, distances)
    if not len(complete):
        return not_run(EXPERIMENT, f"no seed has a change of the gradient at every point with both none and {arm}")
    primary = complete.ratio(distances)
    estimates = [Estimate("ratio of the L2 change of the gradient", arm, primary, True)]
    relative = seen.assign(relative=seen["distance"] / seen["gradient"])
    further = {
        "ratio of the L2 change, in norms of the gradient": (relative, "relative"),
        "ratio of the norm of the gradient": (seen, "gradient"),
        "ratio of the L2 change, first quarter of the steps": (quarter(seen), "distance"),
        "ratio of the L2 change, last quarter of the steps": (quarter(seen, last=True), "distance"),
    }
    for name, layer in seen.groupby("name", sort=False):
        further[f"ratio of the L2 change, {name}"] = (layer, "distance")
    estimates += [
        Estimate(name, arm, found)
        for name, (rows, column) in further.items()
        if (found := ratio(complete, rows, column)) is not None
    ]
    cosines = means(seen, "cosine")
    angled = with_values(complete, cosines)
    if len(angled):
        estimates.append(Estimate("cosine, difference", arm, angled.difference(cosines), unit="number"))
        estimates += angled.each("cosine of the gradient before and after", cosines, arm, "number")
    accounts = _accounts(primary, ratio(complete, relative, "relative"), ratio(complete, seen, "gradient"))
    if len(angled):
        accounts.append(
            Account(
                "The paper, by the gradient's direction alone: it turns less.",
                "with BN minus without, the cosine of the gradient before and after is",
                angled.difference(cosines),
                "above",
                0.0,
                "number",
            )
        )
    beside, told = _noisy(results, tables, seen)
    # What either says is said of Batch Normalization, not of another normaliser under exam.
    said = [account.sentence() for account in accounts + told] if arm == "batch" else []
    found = stats.verdict(primary, zero=1, margin=1, claimed="below")
    return Judgement(
        unless_lost(found, complete.treatment_diverged),
        estimates + beside,
        [*complete.notes, *said],
        complete.listed(distances, "ratio"),
    )


def _accounts(raw: Interval, relative: Interval | None, norms: Interval | None) -> list[Account]:
    """The paper's and the follow-up's, by the distance that decides, and by what is left of it without its scale."""
    change = "with BN over without, the L2 change of the gradient is"
    size = "" if norms is None else f" The norm of the gradient itself is {times(norms)}, with BN over without."
    accounts = [
        Account("The paper, by the L2 distance: BN reduces internal covariate shift.", change, raw, "below", but=size),
        Account(
            "Santurkar et al. 2018, by the same: it does not, and often there is more of it.", change, raw, "above"
        ),
    ]
    if relative is not None:
        said, measure = (
            "The paper, by the distance in norms of the gradient: BN reduces it.",
            "with BN over without, it is",
        )
        accounts.append(Account(said, measure, relative, "below"))
    return accounts


def later_layers(tables: Tables) -> pd.DataFrame:
    """The probe's rows of all layers but the first, before which nothing moves."""
    seen = tables.probes[PROBE]
    return seen[seen["layer"] > 0]


def _noisy(results: Results, tables: Tables, seen: pd.DataFrame) -> tuple[list[Estimate], list[Account]]:
    """The arm with injected noise: how much its gradients move, and how well it still ends."""
    estimates: list[Estimate] = []
    accounts: list[Account] = []
    accuracy = stats.final(stats.curve(tables.metrics, "test", "accuracy"))
    to_plain = pair_by_seed(tables.runs, NOISY)
    to_treated = pair_by_seed(tables.runs, NOISY, baseline=results.treatment)
    if len(to_plain):
        for name, column in {
            "ratio of the L2 change of the gradient": "distance",
            "ratio of the L2 change with the noise of the next step before the layer": "redrawn_distance",
        }.items():
            if (found := ratio(to_plain, seen, column)) is not None:
                estimates.append(Estimate(name, NOISY, found))
                if column == "redrawn_distance":
                    said = "With noise after BN there is more of the shift than without BN."
                    measure = "over the plain network's, the L2 change, noise of the next step included, is"
                    accounts.append(Account(said, measure, found, "above"))
                if len(to_treated) and (own := ratio(to_treated, seen, column)) is not None:
                    estimates.append(Estimate(f"{name}, over {results.treatment}'s", NOISY, own))
                    if column == "redrawn_distance":
                        said = "And more than with BN alone: the noise, not only BN, makes it."
                        accounts.append(Account(said, "over BN's, it is", own, "above"))
        gain = to_plain.difference(accuracy)
        estimates += to_plain.each("final test accuracy", accuracy, NOISY, "share")
        estimates.append(Estimate("final test accuracy, difference to none", NOISY, gain, unit="difference"))
        said = "Santurkar et al. 2018: with this noise the network still does better than without BN."
        accounts.append(Account(said, "its final test accuracy differs by", gain, "above", 0.0, "difference"))
    if len(to_treated):
        gap = to_treated.difference(accuracy)
        treated = stats.paired_difference(to_treated.without(accuracy))
        estimates.append(Estimate("final test accuracy", results.treatment, treated, unit="share"))
        name = f"final test accuracy, difference to {results.treatment}"
        estimates.append(Estimate(name, NOISY, gap, unit="difference"))
        said = "Santurkar et al. 2018: and as well as with BN alone, here to within a point."
        measure, but = "its final test accuracy differs by", _so_near(tables, results.treatment, accuracy)
        accounts.append(Account(said, measure, gap, "above", -AS_WELL, "difference", but))
    return estimates, accounts


def _so_near(tables: Tables, treatment: str, accuracy: pd.Series) -> str:
    """Said where the margin is too wide to tell BN from no BN either."""
    plain = pair_by_seed(tables.runs, treatment)
    if not len(plain):
        return ""
    gain = plain.difference(accuracy)
    if not -AS_WELL < gain.low <= gain.high < AS_WELL:
        return ""
    return f" This margin does not tell BN from no BN either: BN's own gain is {_points(gain)}."


def _points(interval: Interval) -> str:
    value, low, high = (f"{100 * each:+.2f}" for each in (interval.value, interval.low, interval.high))
    return f"{value} points" + (f" ({low} to {high})" if interval.n > 1 else "")


def _number(interval: Interval) -> str:
    value, low, high = (f"{each:+.3f}" for each in (interval.value, interval.low, interval.high))
    return value + (f" ({low} to {high})" if interval.n > 1 else "")


SHOWN = {"ratio": times, "difference": _points, "number": _number}
"""How a number of this unit is printed in a sentence."""


CLAIMS = (
    Claim(
        slug="covariate_shift",
        group="D",
        sentence="Batch Normalization reduces internal covariate shift.",
        source="the title, §1; Santurkar et al. 2018, §2.2",
        experiment=EXPERIMENT,
        metric="ratio, with BN over without, of the L2 change of a layer's gradient by the updates of the layers "
        "before it, geometric mean of all layers but the first and of 20 points of training",
        rule="ratio below 1",
        margin=1.0,
        paper="argued, not measured; the follow-up measures it, and finds no reduction",
        deviation="the shift is that of the follow-up's Definition 2.1: the gradient of a layer's weights, on the same "
        "mini-batch, before and after the layers before it made their gradient step; the network of §4.1 for 10,000 "
        "steps at the learning rate and initialisation that are best without BN. The constants of the injected noise "
        "are the follow-up's as we remember them",
        figure="shift_gradients",
        judge=covariate_shift,
    ),
)

DECLARED = Experiment(EXPERIMENT, CLAIMS, pictures.figures)
