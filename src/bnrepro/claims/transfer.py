"""Readers: statistics of the old data, after the data have shifted, and estimated anew."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bnrepro.claims.base import Claim, Estimate, Experiment, Judgement, measured
from bnrepro.pictures import transfer as pictures
from bnrepro.pictures.transfer import (
    AS_TRAINED,
    FROZEN,
    LABELS,
    OUTPUT,
    OUTPUT_FROZEN,
    OUTPUT_NOT_FROZEN,
    REESTIMATED,
    called,
)
from bnrepro.stats import NOT_RUN, Interval, paired_difference, verdict

NAME = "transfer"
MARGIN = 0.0
UNSHIFTED = "none"
Accuracies = dict[str, pd.DataFrame]
"""Test accuracies of one arm by way: a row a seed, a column a shift."""


@measured(NAME)
def transfer_statistics(frame: pd.DataFrame) -> Judgement:
    if REESTIMATED not in set(frame["way"]):
        return Judgement(NOT_RUN, notes=["none of the trained networks keeps statistics of mini-batches"])
    [arm] = frame.loc[frame["way"] == REESTIMATED, "arm"].unique()
    normalised = by_shift(frame[frame["arm"] == arm])
    control = normalised[REESTIMATED][UNSHIFTED] - normalised[FROZEN][UNSHIFTED]
    gains = normalised[REESTIMATED].drop(columns=UNSHIFTED) - normalised[FROZEN].drop(columns=UNSHIFTED)

    primary = _mean(gains.mean(axis=1))
    estimates = [Estimate("re-estimated minus frozen, mean of the shifts", arm, primary, True, "difference")]
    intervals = {str(shift): _mean(gains[shift]) for shift in gains}
    for shift, gain in intervals.items():
        estimates.append(Estimate(f"re-estimated minus frozen, {shift}", arm, gain, unit="difference"))
    estimates.append(Estimate("re-estimated minus frozen, images not shifted", arm, _mean(control), unit="difference"))
    for way in (OUTPUT_FROZEN, OUTPUT_NOT_FROZEN):
        estimates.append(_trained_further(normalised, arm, way, FROZEN))
    plain = {name: by_shift(rows) for name, rows in frame[frame["arm"] != arm].groupby("arm")}
    estimates.append(_cost(normalised, arm, FROZEN))
    for name, accuracies in plain.items():
        estimates += [
            _cost(accuracies, str(name), AS_TRAINED), _trained_further(accuracies, str(name), OUTPUT, AS_TRAINED)
        ]  # fmt: skip
    notes = [*_worse(intervals), *_beside_plain(normalised, plain), _of_the_control(frame[frame["way"] == REESTIMATED])]
    listed = gains.assign(mean=gains.mean(axis=1), **{"not shifted": control})
    return Judgement(verdict(primary, zero=0, margin=MARGIN, claimed="above"), estimates, notes, listed)


def by_shift(frame: pd.DataFrame) -> Accuracies:
    """Test accuracies of one arm, by way: a row a seed, a column a shift, in the table's order."""
    named = frame.assign(shift=[called(*key) for key in zip(frame["shift"], frame["strength"], strict=True)])
    shifts = list(named["shift"].unique())
    return {
        str(way): rows.pivot(index="seed", columns="shift", values="accuracy")[shifts]
        for way, rows in named.groupby("way")
    }


def _over_shifts(accuracies: pd.DataFrame) -> pd.Series:
    return accuracies.drop(columns=UNSHIFTED).mean(axis=1)


def _mean(values: pd.Series) -> Interval:
    return paired_difference(values.to_numpy())


def _trained_further(accuracies: Accuracies, arm: str, way: str, before: str) -> Estimate:
    gain = _mean(_over_shifts(accuracies[way]) - _over_shifts(accuracies[before]))
    return Estimate(f"{LABELS[way]}; minus {before}, mean of the shifts", arm, gain, unit="difference")


def _cost(accuracies: Accuracies, arm: str, before: str) -> Estimate:
    """What the shifts cost a network that nothing is done about."""
    lost = _mean(_over_shifts(accuracies[before]) - accuracies[before][UNSHIFTED])
    return Estimate(f"{before}; mean of the shifts minus not shifted", arm, lost, unit="difference")


def _beside_plain(normalised: Accuracies, plain: dict[str, Accuracies]) -> list[str]:
    """Whether it is the frozen statistics that the shifts hurt, or every network."""
    found = []
    for name, accuracies in plain.items():
        lost, here = (
            100 * (_over_shifts(each[way]) - each[way][UNSHIFTED]).mean()
            for each, way in ((accuracies, AS_TRAINED), (normalised, FROZEN))
        )
        found.append(
            f"under the same shifts the network with frozen statistics loses {-here:.1f} points, and the arm {name}, "
            f"which has no statistics, {-lost:.1f}"
        )
    return found


def _worse(gains: dict[str, Interval]) -> list[str]:
    """Where re-estimating does harm, whatever the mean of the shifts says."""
    worse = [shift for shift, gain in gains.items() if gain.high < 0]
    if not worse:
        return []
    text = f"re-estimating does harm where the images are {', '.join(worse)}"
    if called("inversion", 1) in worse:
        text += ": 1 − x turns the sign of all that the first layer normalises, which no mean and variance undo"
    return [text]


def _of_the_control(rows: pd.DataFrame) -> str:
    """The changes on unshifted images, network by network, beside their sampling error: that of gained − lost."""
    unshifted = rows[rows["shift"] == UNSHIFTED]
    change = unshifted["gained"] - unshifted["lost"]
    error = np.sqrt((unshifted["gained"] + unshifted["lost"] - change**2) / unshifted["examples"])
    beyond = int((change.abs() > 2 * error).sum())
    return (
        f"images not shifted: re-estimating changes the accuracy of a network by {100 * change.abs().max():.2f} points "
        f"at most; the sampling error of that change on {unshifted['examples'].iloc[0]:,} test examples is "
        f"{100 * error.mean():.2f}, and {beyond} of {len(change)} changes are more than twice theirs"
    )


CLAIMS = (
    Claim(
        slug="transfer_statistics",
        group="C",
        sentence="After the data have shifted, statistics frozen in training hurt, and estimating them anew recovers "
        "accuracy, without a label.",
        source="readers; §3.1, Algorithm 2",
        experiment=NAME,
        metric="test accuracy with statistics re-estimated on shifted training images minus with those of training, "
        "mean over contrast × 0.5 and × 0.2, blur of 1 and 2 pixels, and inversion",
        rule="difference above 0",
        margin=MARGIN,
        paper="not in the paper; readers say that frozen statistics belong to the old data, without a number",
        deviation="readers speak of transfer between data sets. Here the classes stay, and the images change as the "
        "network gets them: for MNIST they are binary before the shift, and grey after it. Re-estimated by Algorithm 2 "
        "from all training images; of the last layer's rates the best on shifted validation images",
        figure="transfer_accuracy",
        judge=transfer_statistics,
    ),
)

DECLARED = Experiment(NAME, CLAIMS, pictures.figures, exam=False)
