"""§4.2.3, Fig. 4: whether an ensemble of networks with Batch Normalization is better than the best of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bnrepro.claims import style
from bnrepro.claims.claim import Claim, Evidence, Experiment, measurement_of
from bnrepro.claims.inception_training import PROTOCOL, X30
from bnrepro.claims.markdown import table
from bnrepro.stats import Above, Estimate, paired_difference
from bnrepro.tables import Results

NAME = "ensemble"
NETWORKS = {
    "member_init": "larger initial weights",
    "member_dropout5": "5% dropout",
    "member_dropout10": "10% dropout",
    "member_per_activation": "BN per activation",
    "member_init_dropout5": "larger weights, 5% dropout",
    "member_per_activation_dropout10": "per activation, 10% dropout",
}
"""Arm → its change to BN-x30."""
SINGLE, SEVERAL = "BN-Inception single crop", "BN-Inception ensemble"
PAPER = {
    # model: crops, networks, top-1 error (%), top-5 error (%), as the paper prints them: Fig. 4.
    SINGLE: ("1", "1", "25.2", "7.82"),
    "BN-Inception multicrop": ("144", "1", "21.99", "5.82"),
    SEVERAL: ("144", "6", "20.1", "4.9"),
}


def ensemble(results: Results) -> Evidence:
    frame = measurement_of(results, NAME).frame
    whole, best = whole_ensembles(frame), best_members(frame)
    members = frame[frame["kind"] == "member"].groupby("ensemble")["test"]
    seen = frame[frame["kind"] == "difference"]
    # Paired image by image: all ensembles are judged on the same test images.
    per_image = np.repeat(seen["difference"].to_numpy(float) / len(whole), seen["images"].to_numpy(int))
    gain = paired_difference(per_image)
    differences = {
        "the same, over the ensembles": whole["test"] - best["test"],
        "difference to the member that is best on the test set itself": whole["test"] - members.max(),
        "difference to the mean of the members": whole["test"] - members.mean(),
    }
    accuracies = {
        "ensemble": ("test accuracy", whole["test"]),
        "best member": ("test accuracy", best["test"]),
        "all members": ("test accuracy, mean of them", members.mean()),
    }
    estimates = [
        Estimate("difference to the best member on validation, over the test images", NAME, gain, True, "difference"),
        *(Estimate(name, NAME, paired_difference(found), unit="difference") for name, found in differences.items()),
        *(Estimate(name, arm, paired_difference(found), unit="share") for arm, (name, found) in accuracies.items()),
    ]
    notes = [
        f"of {int(whole['images'].iloc[0]):,} test images, {whole['gained'].mean():,.0f} are right by the ensemble "
        f"alone and {whole['lost'].mean():,.0f} by its best member alone"
        + (f", in the mean of {len(whole)} ensembles" if len(whole) > 1 else ""),
        "best on validation: " + "; ".join(NETWORKS[arm] for arm in best["arm"]),
        "the interval over test images holds for these networks; how they would vary if trained again, "
        + ("the one over the ensembles tells" if len(whole) > 1 else "several ensembles would tell"),
    ]
    missing = int((len(NETWORKS) - whole["members"]).sum())
    if missing:
        notes.append(f"{missing} of {len(NETWORKS) * len(whole)} networks diverged or have not been trained")
    listed = pd.DataFrame(
        {
            "members": whole["members"],
            "ensemble's accuracy": whole["test"],
            "best member's": best["test"],
            "difference": whole["test"] - best["test"],
            "gained": whole["gained"],
            "lost": whole["lost"],
        }
    )
    listed.index = listed.index.astype(int)
    return Evidence(estimates, notes, listed, missing)


def best_members(frame: pd.DataFrame) -> pd.DataFrame:
    """Each ensemble's best member on validation, indexed by ensemble; of equals the first, as in the measurement."""
    members = frame[frame["kind"] == "member"]
    return members.loc[members.groupby("ensemble")["validation"].idxmax()].set_index("ensemble")


def whole_ensembles(frame: pd.DataFrame) -> pd.DataFrame:
    """Each ensemble with all its members, indexed by ensemble."""
    together = frame[frame["kind"] == "ensemble"]
    return together.loc[together.groupby("ensemble")["members"].idxmax()].set_index("ensemble")


CLAIMS = (
    Claim(
        slug="ensemble",
        group="A",
        origin="paper",
        sentence="An ensemble of networks with Batch Normalization is more accurate than the best of them.",
        source="§4.2.3, Fig. 4",
        metric="difference of test accuracy, ensemble minus its best member on validation, interval over test images",
        unit="difference",
        network="small Inception",
        counts="test images",
        rule=Above(0.0),
        paper="20.1% top-1 error with six networks, 21.99% with one, both on 144 crops",
        deviation=PROTOCOL + "; networks trained for 3.75 epochs instead, and judged on one view of each image instead "
        "of 144 crops; how large each network's change is, and which go together, is an assumption",
        figure="ensemble_accuracy",
        numbers=ensemble,
    ),
)


def figures(results: Results) -> dict[str, Figure]:
    """Two panels: a dot per network and ensemble; a line per ensemble as networks are added."""
    found = measurement_of(results, NAME)
    frame, green = found.frame, style.colour(X30)
    figure, [axes] = style.canvas(style.PAGE, 2.6, 1, 2, width_ratios=(1.5, 1))
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
    together = "the six together" if len(arms) == len(NETWORKS) else "together"
    axes[0].set_yticks(range(len(arms) + 1), [together, *(NETWORKS[arm] for arm in reversed(arms))])
    axes[0].set(xlabel="test accuracy, %", ylim=(-0.6, len(arms) + 0.6))
    for _, line in frame[frame["kind"] == "ensemble"].groupby("ensemble"):
        axes[1].plot(line["members"], 100 * line["test"], "D-", color=green, markersize=3, linewidth=0.9)
    axes[1].set(xlabel="networks, the best on validation first", ylabel="test accuracy, %")
    axes[1].xaxis.set_major_locator(MaxNLocator(integer=True))
    style.panel_letters(axes, ["each network: BN-x30 with a change or two", "mean over so many networks"])
    style.legend_below(figure, axes[0], 3)
    count = f"{len(whole)} ensembles" if len(whole) > 1 else "one ensemble"
    images = int(whole["images"].iloc[0])
    figure.suptitle(f"{found.meta['data']}; {count}, {images:,} test images, one view of each")
    return {"ensemble_accuracy": figure}


def section(results: Results) -> str:
    """Fig. 4 of the paper, with our columns beside its own."""
    found = measurement_of(results, NAME)
    whole, best = whole_ensembles(found.frame), best_members(found.frame)
    ours = {SINGLE: ("1", best), SEVERAL: ("1", whole)}
    count = f"mean of {len(whole)} ensembles" if len(whole) > 1 else "one ensemble"
    rows = []
    for model, (crops, networks, top_1, top_5) in PAPER.items():
        cells = ["–"] * 4
        if model in ours:
            seen, frame = ours[model]
            cells = [seen, f"{frame['members'].mean():g}", _error(frame["test"]), _error(frame["top5"])]
        rows.append([model, *cells, crops, networks, f"{top_1}%", f"{top_5}%"])
    header = ["model", "crops", "networks", "top-1 error", "top-5 error"]
    return (
        f"## Fig. 4: the ensemble\n\nOurs on {found.meta['data']}, {count}; the single network is the best of each "
        "ensemble on validation. With ten classes, top-5 error says little. We did not try several crops of an "
        "image.\n\n" + table([*header, "the paper: crops", *header[2:]], rows)
    )


def _error(accuracies: pd.Series) -> str:
    return f"{100 * (1 - accuracies.mean()):.2f}%"


DECLARED = Experiment(NAME, 120, CLAIMS, figures, section, any_normaliser=False)
