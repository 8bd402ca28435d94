"""Readers: statistics of the old data on shifted data, against statistics estimated anew."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnrepro.claims import style
from bnrepro.claims.claim import Claim, Evidence, Experiment, Inapplicable, measurement_of
from bnrepro.stats import Above, Estimate, Interval, paired_difference
from bnrepro.tables import Results

NAME = "transfer"
UNSHIFTED = "none"
"""The images as they were: the control. No mean over the shifts includes them."""
FROZEN, REESTIMATED = "frozen", "re-estimated"
OUTPUT_FROZEN, OUTPUT_NOT_FROZEN = "last layer, BN frozen", "last layer, BN not frozen"
AS_TRAINED, OUTPUT = "as trained", "last layer"
LABELS = {
    FROZEN: "statistics frozen",
    REESTIMATED: "statistics re-estimated, no labels",
    OUTPUT_FROZEN: "last layer trained, BN frozen",
    OUTPUT_NOT_FROZEN: "last layer trained, BN not frozen",
    AS_TRAINED: "as trained",
    OUTPUT: "last layer trained",
}
Accuracies = dict[str, pd.DataFrame]
"""Test accuracies of one arm, by way: seeds (rows) × shifts (columns)."""


def transfer_statistics(results: Results) -> Evidence:
    frame = measurement_of(results, NAME).frame
    if REESTIMATED not in set(frame["way"]):
        raise Inapplicable("none of the trained networks keeps statistics of mini-batches")
    [arm] = frame.loc[frame["way"] == REESTIMATED, "arm"].unique()
    normalised = by_shift(frame[frame["arm"] == arm])
    control = normalised[REESTIMATED][UNSHIFTED] - normalised[FROZEN][UNSHIFTED]
    gains = normalised[REESTIMATED].drop(columns=UNSHIFTED) - normalised[FROZEN].drop(columns=UNSHIFTED)

    primary = paired_difference(gains.mean(axis=1))
    estimates = [Estimate("re-estimated minus frozen, mean of the shifts", arm, primary, True, "difference")]
    intervals = {str(shift): paired_difference(gains[shift]) for shift in gains}
    for shift, gain in intervals.items():
        estimates.append(Estimate(f"re-estimated minus frozen, {shift}", arm, gain, unit="difference"))
    estimates.append(
        Estimate("re-estimated minus frozen, images not shifted", arm, paired_difference(control), unit="difference")
    )
    for way in (OUTPUT_FROZEN, OUTPUT_NOT_FROZEN):
        estimates.append(_trained_further(normalised, arm, way, FROZEN))
    plain = {name: by_shift(rows) for name, rows in frame[frame["arm"] != arm].groupby("arm")}
    estimates.append(_cost(normalised, arm, FROZEN))
    for name, accuracies in plain.items():
        estimates += [
            _cost(accuracies, str(name), AS_TRAINED), _trained_further(accuracies, str(name), OUTPUT, AS_TRAINED)
        ]  # fmt: skip
    notes = [*_worse(intervals), *_beside_plain(normalised, plain), _control_note(frame[frame["way"] == REESTIMATED])]
    listed = gains.assign(mean=gains.mean(axis=1), **{"not shifted": control})
    return Evidence(estimates, notes, listed)


def called(kind: object, strength: float) -> str:
    """A shift's name in the report."""
    if kind == "contrast":
        return f"contrast × {strength:g}"
    if kind == "blur":
        return f"blur, σ = {strength:g} px"
    if kind == "inversion":
        return "inverted" if strength == 1 else f"inverted by {strength:g}"
    return str(kind)


def by_shift(frame: pd.DataFrame) -> Accuracies:
    """Test accuracies of one arm, by way: seeds (rows) × shifts (columns), in the table's order."""
    named = frame.assign(shift=[called(*key) for key in zip(frame["shift"], frame["strength"], strict=True)])
    shifts = list(named["shift"].unique())
    return {
        str(way): rows.pivot(index="seed", columns="shift", values="accuracy")[shifts]
        for way, rows in named.groupby("way")
    }


def _over_shifts(accuracies: pd.DataFrame) -> pd.Series:
    return accuracies.drop(columns=UNSHIFTED).mean(axis=1)


def _trained_further(accuracies: Accuracies, arm: str, way: str, before: str) -> Estimate:
    gain = paired_difference(_over_shifts(accuracies[way]) - _over_shifts(accuracies[before]))
    return Estimate(f"{LABELS[way]}; minus {before}, mean of the shifts", arm, gain, unit="difference")


def _cost(accuracies: Accuracies, arm: str, before: str) -> Estimate:
    """The accuracy that the shifts cost a network that stays as it is."""
    lost = paired_difference(_over_shifts(accuracies[before]) - accuracies[before][UNSHIFTED])
    return Estimate(f"{before}; mean of the shifts minus not shifted", arm, lost, unit="difference")


def _beside_plain(normalised: Accuracies, plain: dict[str, Accuracies]) -> list[str]:
    """Notes on the arms without statistics: whether the shifts hurt them as much as frozen statistics."""
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
    """A note on the shifts under which re-estimating does harm, whatever the mean over the shifts."""
    worse = [shift for shift, gain in gains.items() if gain.high < 0]
    if not worse:
        return []
    text = f"re-estimating does harm where the images are {', '.join(worse)}"
    if called("inversion", 1) in worse:
        text += ": 1 − x turns the sign of all that the first layer normalises, which no mean and variance undo"
    return [text]


def _control_note(rows: pd.DataFrame) -> str:
    """A note on each network's change on unshifted images, beside its sampling error: that of gained − lost."""
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
        origin="readers",
        sentence="After the data have shifted, statistics frozen in training hurt; estimating them anew "
        "recovers accuracy, without labels.",
        source="readers; §3.1, Algorithm 2",
        metric="test accuracy with statistics re-estimated on shifted training images minus with those of training, "
        "mean over contrast × 0.5 and × 0.2, blur of 1 and 2 pixels, and inversion",
        unit="difference",
        network="MLP of §4.1",
        rule=Above(0.0),
        paper="not in the paper; readers say that frozen statistics belong to the old data, without a number",
        deviation="readers speak of transfer between data sets. Here the classes stay, and the images change as the "
        "network gets them: for MNIST they are binary before the shift, and grey after it. Re-estimated by Algorithm 2 "
        "from all training images; of the last layer's rates the best on shifted validation images",
        figure="transfer_accuracy",
        numbers=transfer_statistics,
    ),
)

STRENGTH = {FROZEN: 0.3, AS_TRAINED: 0.3, REESTIMATED: 1.0}
"""Opacity of a bar: the state before is pale, and the claim's own bar stands out."""


def figures(results: Results) -> dict[str, Figure]:
    """A column per shift: the first test image, what re-estimating gains, and the mean accuracy, a bar per way."""
    found = measurement_of(results, NAME)
    frame = found.frame
    if REESTIMATED not in set(frame["way"]):
        return {}
    shifts = list(dict.fromkeys(zip(frame["shift"], frame["strength"], strict=True)))
    bars = [(arm, way) for arm, rows in _bn_first(frame) for way in LABELS if way in set(rows["way"])]
    # A gap separates the arms.
    arms = list(dict.fromkeys(arm for arm, _ in bars))
    places = np.array([place + 1.1 * arms.index(arm) for place, (arm, _) in enumerate(bars)])
    figure, [above, middle, panels] = style.canvas(
        style.PAGE, 0.24 * len(bars) + 2.5, 3, len(shifts), sharey="row", height_ratios=[1, 0.9, 0.36 * len(bars)]
    )
    for image, panel, key in zip(above, panels, shifts, strict=True):
        rows = frame[(frame["shift"] == key[0]) & (frame["strength"] == key[1])]
        _show(image, str(rows["example"].dropna().iloc[0]))
        image.set_title("not shifted" if key[0] == UNSHIFTED else called(*key))
        values = rows.groupby(["arm", "way"])["accuracy"].agg(["mean", "min", "max"])
        for place, bar in zip(places, bars, strict=True):
            _bar(panel, place, 100 * values.loc[[bar]].iloc[0], *bar)
        panel.set(xlim=(0, 148), ylim=(places[-1] + 0.6, -1.2))
        panel.set_xticks([0, 50, 100])
        panel.tick_params(axis="y", length=0)
        panel.spines["bottom"].set_bounds(0, 100)
    _gains(middle, frame, [called(*key) for key in shifts])
    panels[0].set_yticks(places, [LABELS[way] for _, way in bars])
    for arm in arms:
        top = places[[own for own, _ in bars].index(arm)]
        panels[0].annotate(
            style.name(arm), (0, top - 0.85), (-4, 0), xycoords=panels[0].get_yaxis_transform(),
            textcoords="offset points", va="center", ha="right", fontsize=8, fontweight="bold",
            color=style.colour(arm), annotation_clip=False,
        )  # fmt: skip
    figure.supxlabel("test accuracy, %")
    networks = style.summary("mean and range", frame["seed"].nunique(), "trained network")
    figure.suptitle(f"{found.meta['data']}; {networks}; at the top, the first test image")
    return {"transfer_accuracy": figure}


def _gains(panels: np.ndarray, frame: pd.DataFrame, shifts: list[str]) -> None:
    """What re-estimating gains under each shift: their mean hides that it does harm under some."""
    arm = frame.loc[frame["way"] == REESTIMATED, "arm"].iloc[0]
    ways = by_shift(frame[frame["arm"] == arm])
    gains = 100 * (ways[REESTIMATED] - ways[FROZEN])
    means = gains.mean()
    reach = max(float(means.abs().max()), 1.0)
    for panel, shift in zip(panels, shifts, strict=True):
        mean = float(means[shift])
        panel.bar([0], [mean], 0.5, color=style.colour(arm) if mean >= 0 else "black", linewidth=0)
        panel.plot([0, 0], [gains[shift].min(), gains[shift].max()], color="0.4", linewidth=0.8)
        panel.text(0.42, 0, style.signed(mean), fontsize=8, va="bottom" if mean >= 0 else "top")
        panel.axhline(0, color="black", linewidth=0.6)
        panel.set(xlim=(-0.6, 1.4))
        panel.set_xticks([])
        panel.tick_params(axis="y", length=0)
        panel.spines[:].set_visible(False)
    low, high = gains.to_numpy().min(), gains.to_numpy().max()
    panels[0].set_ylim(min(low, -0.35 * reach), max(high, 0.35 * reach))
    mean = float(means.drop(UNSHIFTED).mean())
    panels[0].set_yticks([0], [f"re-estimated minus frozen, points\n(mean of the shifts: {style.signed(mean)})"])


def _bn_first(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Every arm's rows; the claim's arm comes first."""
    groups = [(str(arm), rows) for arm, rows in frame.groupby("arm", sort=False)]
    return sorted(groups, key=lambda group: REESTIMATED not in set(group[1]["way"]))


def _show(axes: Axes, example: str) -> None:
    """Draw an image given as letters: a is black, p is white, / ends a row."""
    pixels = np.array([[ord(letter) - ord("a") for letter in row] for row in example.split("/")])
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=15, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(True)


def _bar(axes: Axes, place: float, percent: pd.Series, arm: str, way: str) -> None:
    shade = style.colour(arm)
    axes.barh(place, percent["mean"], 0.72, color=shade, alpha=STRENGTH.get(way, 0.65), linewidth=0)
    axes.plot([percent["min"], percent["max"]], [place, place], color="black", linewidth=0.7, solid_capstyle="butt")
    axes.text(max(percent["mean"], percent["max"]) + 4, place, f"{percent['mean']:.1f}", va="center", fontsize=7.5)


DECLARED = Experiment(NAME, 270, CLAIMS, figures, any_normaliser=False)
