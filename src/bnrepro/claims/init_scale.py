"""§1, §3.3: how much care the initialisation needs."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bnrepro import stats
from bnrepro.claims.base import BASELINE, Claim, Estimate, Experiment, Judgement, Results, not_run
from bnrepro.pictures import init_scale as pictures
from bnrepro.stats.selection import SCALE, lasts
from bnrepro.tables import Tables

EXPERIMENT = "init_scale"
PASS = 0.9
"""A run passes if it ends at this test accuracy or above; one that diverged does not."""


def passing(tables: Tables) -> pd.DataFrame:
    """Which runs pass: seeds (rows) × (arm, scale) (columns); NaN where there is no run."""
    runs = lasts(tables)
    return runs.assign(passed=(runs["end"] >= PASS).astype(float)).pivot(
        index="seed", columns=["arm", SCALE], values="passed"
    )


def robust_to_init(results: Results) -> Judgement:
    tables = results.tables(EXPERIMENT)
    if tables is None:
        return not_run(EXPERIMENT)
    grid = passing(tables)
    arms = [arm for arm in (BASELINE, results.treatment) if arm in grid.columns.get_level_values("arm")]
    if len(arms) < 2:
        return not_run(EXPERIMENT, f"only the arm {', '.join(arms) or 'of another treatment'} was run")
    shared = sorted(set(grid[arms[0]].columns) & set(grid[arms[1]].columns))
    complete = grid[[(arm, scale) for arm in arms for scale in shared]].dropna()
    if complete.empty or len(shared) < 2:
        return not_run(EXPERIMENT, "no seed has both arms at two or more scales")
    decades = np.diff(np.log10(shared)).mean()
    spans = {arm: decades * complete[[(arm, scale) for scale in shared]].sum(axis=1) for arm in arms}
    difference = stats.paired_difference((spans[arms[1]] - spans[arms[0]]).to_numpy())
    estimates = [
        Estimate("decades of initial scale that train, difference", results.treatment, difference, True, "number"),
        *(
            Estimate(
                "decades of initial scale that train",
                arm,
                stats.paired_difference(spans[arm].to_numpy()),
                unit="number",
            )
            for arm in arms
        ),
    ]
    notes = [
        f"{arm}: trains in all {len(complete)} seeds at standard deviations "
        + (", ".join(f"{scale:g}" for scale in shared if complete[arm][scale].all()) or "none of them")
        for arm in arms
    ]
    for arm in arms:
        if complete[arm][shared[-1]].any():
            notes.append(f"{arm}: trains at the largest standard deviation of the grid, so its range is a lower bound")
        if complete[arm][shared[0]].any():
            notes.append(f"{arm}: trains at the smallest standard deviation of the grid, so its range is a lower bound")
    rows = pd.DataFrame({"without": spans[arms[0]], "with": spans[arms[1]]}).assign(
        difference=spans[arms[1]] - spans[arms[0]]
    )
    found = stats.verdict(difference, zero=0, margin=0.5, claimed="above")
    return Judgement(found, estimates, notes, rows)


CLAIMS = (
    Claim(
        slug="robust_to_init",
        group="A",
        sentence="With Batch Normalization the network trains from a wider range of initial scales.",
        source="§1, §3.3",
        experiment=EXPERIMENT,
        metric="difference in decades of initial standard deviation from which a run ends at 90% test accuracy or more",
        rule="difference above 0.5 decades",
        margin=0.5,
        paper="said in the text; no experiment is given",
        deviation="the network of §4.1 on binary MNIST, 10,000 steps, at the learning rate of mnist_training; seven "
        "standard deviations, half a decade apart",
        figure="init_scale_accuracy",
        judge=robust_to_init,
    ),
)

DECLARED = Experiment(EXPERIMENT, CLAIMS, pictures.figures)
