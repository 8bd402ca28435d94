"""The choice of learning rate and initialisation behind Fig. 1. It carries no claim; its grids stand in the report."""

from __future__ import annotations

import math

from bnrepro.claims.base import Experiment, Results
from bnrepro.pictures import mnist_tuning as pictures
from bnrepro.stats.selection import best_cell, grid_of, on_edge, steps_ratio

EXPERIMENT = "mnist_tuning"


def section(results: Results) -> str:
    """Which cell is best for each arm on validation, and how far the ratio of steps depends on the cell."""
    tables = results.tables(EXPERIMENT)
    assert tables is not None
    lines = ["## How much depends on the learning rate and the initialisation", ""]
    for arm in ("none", results.treatment):
        if arm not in set(tables.runs["arm"]):
            continue
        grid = grid_of(tables, arm)
        scale, rate = best_cell(grid)
        edge = "; it lies on the edge of the grid" if on_edge(grid) else ""
        lines.append(
            f"- **{arm}**: best on validation at initial standard deviation {scale:g}, learning rate {rate:g} "
            f"({100 * float(grid.max().max()):.2f}%){edge}."
        )
    ratios = steps_ratio(tables, results.treatment)
    values = sorted(value for value in ratios.to_numpy().ravel() if not math.isnan(value))
    if values:
        blank = int(ratios.isna().sum().sum())
        faster = sum(value <= 0.5 for value in values)
        slower = sum(value >= 1 for value in values)
        lines.append(
            f"- Steps with {results.treatment} over steps without, to the plain network's own final accuracy in the "
            f"same cell: from {values[0]:.2f} to {values[-1]:.2f} over {len(values)} cells; at most 1/2 in {faster} of "
            f"them, 1 or more in {slower}. In {blank} cells the plain network does not learn, and no ratio exists."
        )
    lines += ["", "![validation accuracy and ratio of steps over the grid](figures/mnist_tuning_grid.png)"]
    return "\n".join(lines)


DECLARED = Experiment(EXPERIMENT, (), pictures.figures, section)
