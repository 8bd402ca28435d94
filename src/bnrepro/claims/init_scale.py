"""§1, §3.3: from which initial scales the network trains at one rate. The map judges the claim."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bnrepro.claims import points, style, sweeps
from bnrepro.claims.claim import Evidence, Experiment, NotRun, tables_of
from bnrepro.stats import BASELINE, Estimate, Interval, censored
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
    decades = censored.decades(shared)
    nowhere = (0.0, float(np.diff(decades).max()))
    spans = {
        arm: [censored.span_bounds(decades, list(row > 0)) or nowhere for row in complete[arm][shared].to_numpy()]
        for arm in arms
    }
    gaps = [censored.difference_bounds(mine, plain)
            for mine, plain in zip(spans[results.treatment], spans[BASELINE], strict=True)]  # fmt: skip
    seeds = pd.DataFrame(gaps, index=complete.index, columns=["from", "to"])
    label = "decades of initial scale that train"
    estimates = [Estimate(f"{label}, difference", results.treatment, _over(gaps), True, "number")]
    estimates += [Estimate(label, arm, _over(spans[arm]), unit="number") for arm in arms]
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


def _over(bounds: list[censored.Bounds]) -> Interval:
    """One interval over the seeds: an end of a range lies between two scales of the grid, or beyond its edge."""
    return censored.over_seeds([low for low, _ in bounds], [high for _, high in bounds])


def passing(tables: Tables) -> pd.DataFrame:
    """Which runs pass, as 0 or 1: seeds (rows) × (arm, scale) (columns); NaN where there is no run."""
    runs = lasts(tables)
    return runs.assign(passed=(runs["end"] >= PASS).astype(float)).pivot(
        index="seed", columns=["arm", SCALE], values="passed"
    )


def section(results: Results) -> str:
    """The range of scales at the one learning rate."""
    where = (
        "The network of §4.1 at seven initial standard deviations, half a decade apart, and the learning rate of "
        "mnist_training, 10,000 steps; a run trains if it ends at "
        f"{PASS:.0%} test accuracy or more. The verdict is that of the map, which asks at every rate."
    )
    return points.section(
        results, "Initial scales at the plain network's best rate", where, {"robust_to_init": robust_to_init}
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


DECLARED = Experiment(NAME, 50, (), figures, section, draws_all=True)
