"""§1, §3.3: from which initial scales the network trains."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bnrepro.claims import style, sweeps
from bnrepro.claims.claim import Claim, Evidence, Experiment, NotRun, tables_of
from bnrepro.stats import BASELINE, Above, Estimate, paired_difference
from bnrepro.stats.selection import SCALE, ends, lasts
from bnrepro.tables import Results, Tables

NAME = "init_scale"
PASS = 0.9
"""A run passes if it ends at this test accuracy or above. A diverged run does not pass."""


def robust_to_init(results: Results) -> Evidence:
    grid = passing(tables_of(results, NAME))
    arms = [arm for arm in (BASELINE, results.treatment) if arm in grid.columns.get_level_values("arm")]
    if len(arms) < 2:
        raise NotRun(NAME, f"only the arm {', '.join(arms) or 'of another treatment'} was run")
    shared = sorted(set(grid[arms[0]].columns) & set(grid[arms[1]].columns))
    complete = grid[[(arm, scale) for arm in arms for scale in shared]].dropna()
    if complete.empty or len(shared) < 2:
        raise NotRun(NAME, "no seed has both arms at two or more scales")
    decades = np.diff(np.log10(shared)).mean()
    spans = {arm: decades * complete[[(arm, scale) for scale in shared]].sum(axis=1) for arm in arms}
    seeds = pd.DataFrame({"without": spans[BASELINE], "with": spans[results.treatment]})
    seeds = seeds.assign(difference=seeds["with"] - seeds["without"])
    difference = paired_difference(seeds["difference"])
    label = "decades of initial scale that train"
    estimates = [Estimate(f"{label}, difference", results.treatment, difference, True, "number")]
    for arm in arms:
        estimates.append(Estimate(label, arm, paired_difference(spans[arm]), unit="number"))
    notes = [
        f"{arm}: trains in all {len(complete)} seeds at standard deviations "
        + (", ".join(f"{scale:g}" for scale in shared if complete[arm][scale].all()) or "none of them")
        for arm in arms
    ]
    for arm in arms:
        for end, scale in (("largest", shared[-1]), ("smallest", shared[0])):
            if complete[arm][scale].any():
                notes.append(
                    f"{arm}: trains at the {end} standard deviation of the grid, so its range is a lower bound"
                )
    return Evidence(estimates, notes, seeds)


def passing(tables: Tables) -> pd.DataFrame:
    """Which runs pass, as 0 or 1: seeds (rows) × (arm, scale) (columns); NaN where there is no run."""
    runs = lasts(tables)
    return runs.assign(passed=(runs["end"] >= PASS).astype(float)).pivot(
        index="seed", columns=["arm", SCALE], values="passed"
    )


CLAIMS = (
    Claim(
        slug="robust_to_init",
        group="A",
        origin="paper",
        sentence="With Batch Normalization the network trains from a wider range of initial scales.",
        source="§1, §3.3",
        metric=f"difference in decades of initial standard deviation from which a run ends at {PASS:.0%} test accuracy "
        "or more",
        unit="number",
        rule=Above(0.5, null=0.0),
        paper="said in the text; no experiment is given",
        deviation="the network of §4.1 on binary MNIST, 10,000 steps, at the learning rate of mnist_training; seven "
        "standard deviations, half a decade apart",
        figure="init_scale_accuracy",
        numbers=robust_to_init,
    ),
)


def figures(results: Results) -> dict[str, Figure]:
    """Final test accuracy against the initial scale: mean over seeds with its interval."""
    tables = tables_of(results, NAME)
    figure, [[axes]] = style.canvas(style.PAGE, 2.8)
    axes.set(xscale="log", xlabel="initial standard deviation", ylabel="final test accuracy")
    sweeps.ends_against([axes], [ends(tables)], SCALE, style.arms_of(tables, results.treatment))
    style.mark(axes, PASS, f"trains:\n{PASS:.0%}")
    style.legend_below(figure, axes, 4)
    figure.suptitle(style.seeds_note(tables))
    return {"init_scale_accuracy": figure}


DECLARED = Experiment(NAME, 50, CLAIMS, figures, draws_all=True)
