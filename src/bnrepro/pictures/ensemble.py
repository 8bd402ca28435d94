"""§4.2.3: the networks of each ensemble and the ensemble itself; and how accuracy grows with the number of networks."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bnrepro.claims.style import PAGE, canvas, colour, panel_letters
from bnrepro.tables import Results

NETWORKS = {
    "member_init": "larger initial weights",
    "member_dropout5": "5% dropout",
    "member_dropout10": "10% dropout",
    "member_per_activation": "BN per activation",
    "member_init_dropout5": "larger weights, 5% dropout",
    "member_per_activation_dropout10": "per activation, 10% dropout",
}
"""Arm → what it changes in BN-x30."""
TOGETHER = "the six together"


def best_members(frame: pd.DataFrame) -> pd.DataFrame:
    """The row of every ensemble's best member on validation; the first of several, as the measurement takes it."""
    members = frame[frame["kind"] == "member"]
    return members.loc[members.groupby("ensemble")["validation"].idxmax()].set_index("ensemble")


def whole_ensembles(frame: pd.DataFrame) -> pd.DataFrame:
    """The row of every ensemble with all its members."""
    together = frame[frame["kind"] == "ensemble"]
    return together.loc[together.groupby("ensemble")["members"].idxmax()].set_index("ensemble")


def figures(results: Results) -> dict[str, Figure]:
    """Two panels: a dot a network and ensemble; a line an ensemble."""
    found = results.measured("ensemble")
    if found is None:
        return {}
    frame, green = found.frame, colour("bn_x30")
    figure, [axes] = canvas(PAGE, 2.6, 1, 2, width_ratios=(1.5, 1))
    members, best, whole = frame[frame["kind"] == "member"], best_members(frame), whole_ensembles(frame)
    arms = [arm for arm in NETWORKS if arm in set(members["arm"])]
    height = {arm: len(arms) - place for place, arm in enumerate(arms)}
    axes[0].plot(
        100 * members["test"], members["arm"].map(height), "o", color="0.55", markersize=4, label="one network"
    )
    axes[0].plot(
        100 * best["test"], best["arm"].map(height), "o", markersize=8, fillstyle="none", color="black",
        label="best on validation of its ensemble",
    )  # fmt: skip
    axes[0].plot(100 * whole["test"], [0] * len(whole), "D", color=green, markersize=4, label="ensemble")
    together = TOGETHER if len(arms) == len(NETWORKS) else "together"
    axes[0].set_yticks(range(len(arms) + 1), [together, *(NETWORKS[arm] for arm in reversed(arms))])
    axes[0].set(xlabel="test accuracy, %", ylim=(-0.6, len(arms) + 0.6))
    for _, line in frame[frame["kind"] == "ensemble"].groupby("ensemble"):
        axes[1].plot(line["members"], 100 * line["test"], "D-", color=green, markersize=3, linewidth=0.9)
    axes[1].set(xlabel="networks, the best on validation first", ylabel="test accuracy, %")
    axes[1].xaxis.set_major_locator(MaxNLocator(integer=True))
    panel_letters(list(axes), ["each network: BN-x30 with a change or two", "mean over so many networks"])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    count = f"{len(whole)} ensembles" if len(whole) > 1 else "one ensemble"
    images = int(whole["images"].iloc[0])
    figure.suptitle(f"{found.meta['data']}; {count}, {images:,} test images, one view of each", fontsize=8)
    return {"ensemble_accuracy": figure}
