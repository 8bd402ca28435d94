"""What a trained network makes of shifted images, and what helps: a bar a way, a panel a shift, and what it sees."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnrepro.claims.style import PAGE, canvas, colour
from bnrepro.claims.style import name as name_of
from bnrepro.tables import Results

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
STRENGTH = {FROZEN: 0.3, AS_TRAINED: 0.3, REESTIMATED: 1.0}
"""Of a bar's colour: what was there before is pale, what the claim is about stands out."""


def called(kind: object, strength: float) -> str:
    """A shift in words; ``none`` for the images as they were."""
    if kind == "contrast":
        return f"contrast × {strength:g}"
    if kind == "blur":
        return f"blur, σ = {strength:g} px"
    if kind == "inversion":
        return "inverted" if strength == 1 else f"inverted by {strength:g}"
    return str(kind)


def figures(results: Results) -> dict[str, Figure]:
    """Above each panel the first test image as the network gets it; bars are means, whiskers the seeds' range."""
    found = results.measured("transfer")
    if found is None or REESTIMATED not in set(found.frame["way"]):
        return {}
    frame = found.frame
    shifts = list(dict.fromkeys(zip(frame["shift"], frame["strength"], strict=True)))
    bars = [(arm, way) for arm, rows in _bn_first(frame) for way in LABELS if way in set(rows["way"])]
    # A gap wherever another arm begins.
    arms = list(dict.fromkeys(arm for arm, _ in bars))
    places = np.array([place + 1.1 * arms.index(arm) for place, (arm, _) in enumerate(bars)])
    figure, [above, panels] = canvas(
        PAGE, 0.24 * len(bars) + 1.65, 2, len(shifts), sharey="row", height_ratios=[1, 0.36 * len(bars)]
    )
    for image, panel, key in zip(above, panels, shifts, strict=True):
        rows = frame[(frame["shift"] == key[0]) & (frame["strength"] == key[1])]
        _show(image, str(rows["example"].dropna().iloc[0]))
        image.set_title("not shifted" if key[0] == "none" else called(*key), fontsize=8)
        values = rows.groupby(["arm", "way"])["accuracy"].agg(["mean", "min", "max"])
        for place, bar in zip(places, bars, strict=True):
            _bar(panel, place, 100 * values.loc[[bar]].iloc[0], *bar)
        panel.set(xlim=(0, 148), ylim=(places[-1] + 0.6, -1.2))
        panel.set_xticks([0, 50, 100])
        panel.tick_params(axis="y", length=0)
        panel.spines["bottom"].set_bounds(0, 100)
    panels[0].set_yticks(places, [LABELS[way] for _, way in bars])
    for arm in arms:
        top = places[[own for own, _ in bars].index(arm)]
        panels[0].annotate(
            name_of(arm), (0, top - 0.85), (-4, 0), xycoords=panels[0].get_yaxis_transform(), va="center", ha="right",
            textcoords="offset points", fontsize=8, color=colour(arm), fontweight="bold", annotation_clip=False,
        )  # fmt: skip
    figure.supxlabel("test accuracy, %", fontsize=8)
    seeds = frame["seed"].nunique()
    figure.suptitle(
        f"{found.meta['data']}; mean and range of {seeds} trained networks; above, the first test image", fontsize=8
    )
    return {"transfer_accuracy": figure}


def _bn_first(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    groups = [(str(arm), rows) for arm, rows in frame.groupby("arm", sort=False)]
    return sorted(groups, key=lambda group: REESTIMATED not in set(group[1]["way"]))


def _show(axes: Axes, example: str) -> None:
    """An image from its letters: a is black, p is white, / ends a row."""
    pixels = np.array([[ord(letter) - ord("a") for letter in row] for row in example.split("/")])
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=15, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(True)


def _bar(axes: Axes, place: float, percent: pd.Series, arm: str, way: str) -> None:
    shade = colour(arm)
    axes.barh(place, percent["mean"], 0.72, color=shade, alpha=STRENGTH.get(way, 0.65), linewidth=0)
    axes.plot([percent["min"], percent["max"]], [place, place], color="black", linewidth=0.7, solid_capstyle="butt")
    axes.text(max(percent["mean"], percent["max"]) + 4, place, f"{percent['mean']:.1f}", va="center", fontsize=7)
