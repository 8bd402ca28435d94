"""§4.2.3, Fig. 4: whether several networks with Batch Normalization together are better than the best of them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bnrepro import stats
from bnrepro.claims.base import Claim, Estimate, Experiment, Judgement, Results, measured, unless_lost
from bnrepro.claims.inception_training import PROTOCOL
from bnrepro.pictures import ensemble as pictures
from bnrepro.pictures.ensemble import NETWORKS, best_members, whole_ensembles

NAME = "ensemble"
PAPER = {
    # model: crops, networks, top-1 error (%), top-5 error (%), as the paper prints them: Fig. 4.
    "BN-Inception single crop": ("1", "1", "25.2", "7.82"),
    "BN-Inception multicrop": ("144", "1", "21.99", "5.82"),
    "BN-Inception ensemble": ("144", "6", "20.1", "4.9"),
}


@measured(NAME)
def ensemble(frame: pd.DataFrame) -> Judgement:
    whole, best = whole_ensembles(frame), best_members(frame)
    members = frame[frame["kind"] == "member"].groupby("ensemble")["test"]
    seen = frame[frame["kind"] == "difference"]
    # Image by image, since the ensembles are judged on the same ones.
    per_image = np.repeat(seen["difference"].to_numpy(float) / len(whole), seen["images"].to_numpy(int))
    gain = stats.paired_difference(per_image)
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
    over = [
        Estimate("difference to the best member on validation, over the test images", NAME, gain, True, "difference"),
        *(Estimate(name, NAME, _over(found), unit="difference") for name, found in differences.items()),
        *(Estimate(name, arm, _over(found), unit="share") for arm, (name, found) in accuracies.items()),
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
    found = stats.verdict(gain, zero=0, margin=0, claimed="above")
    return Judgement(unless_lost(found, missing), over, notes, listed)


def _over(values: pd.Series) -> stats.Interval:
    return stats.paired_difference(values.to_numpy())


def section(results: Results) -> str:
    """Fig. 4 of the paper, with our columns beside its own."""
    found = results.measured(NAME)
    assert found is not None
    whole, best = whole_ensembles(found.frame), best_members(found.frame)
    ours = {"BN-Inception single crop": ("1", best), "BN-Inception ensemble": ("1", whole)}
    lines = [
        "## Fig. 4: the ensemble",
        "",
        f"Ours on {found.meta['data']}, {_count(len(whole))}; the single network is the best of the ensemble's on "
        "validation. With ten classes top-5 error says little. "
        "Several crops of one image were not tried.",
        "",
        "| model | crops | networks | top-1 error | top-5 error | the paper: crops | networks | top-1 error | "
        "top-5 error |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for model, (crops, networks, first, five) in PAPER.items():
        cells = ["–"] * 4
        if model in ours:
            seen, rows = ours[model]
            cells = [seen, f"{rows['members'].mean():g}", _error(rows["test"]), _error(rows["top5"])]
        lines.append(f"| {model} | {' | '.join(cells)} | {crops} | {networks} | {first}% | {five}% |")
    return "\n".join(lines)


def _count(ensembles: int) -> str:
    return f"mean of {ensembles} ensembles" if ensembles > 1 else "one ensemble"


def _error(accuracies: pd.Series) -> str:
    return f"{100 * (1 - accuracies.mean()):.2f}%"


CLAIMS = (
    Claim(
        slug="ensemble",
        group="A",
        sentence="An ensemble of networks with Batch Normalization is more accurate than the best of them.",
        source="§4.2.3, Fig. 4",
        experiment=NAME,
        metric="difference of test accuracy, ensemble minus its best member on validation, interval over test images",
        rule="difference above 0",
        margin=0.0,
        paper="20.1% top-1 error with six networks, 21.99% with one, both on 144 crops",
        deviation=PROTOCOL + "; networks trained for 3.75 epochs instead, and judged on one view of each image instead "
        "of 144 crops; how large each network's change is, and which go together, is an assumption",
        figure="ensemble_accuracy",
        judge=ensemble,
    ),
)

DECLARED = Experiment(NAME, CLAIMS, pictures.figures, section, exam=False)
