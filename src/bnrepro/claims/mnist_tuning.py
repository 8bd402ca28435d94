"""The choice of learning rate and initialisation behind Fig. 1. It carries no claim; the report shows its grids."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bnrepro.claims import style
from bnrepro.claims.claim import Experiment, tables_of
from bnrepro.stats import BASELINE
from bnrepro.stats.selection import best_cell, grid_of, on_edge, steps_ratio
from bnrepro.tables import Results, Tables

NAME = "mnist_tuning"
FIGURE = "mnist_tuning_grid"


def section(results: Results) -> str:
    """The best cell on validation for each arm, and the range of the ratio of steps over the cells."""
    tables = tables_of(results, NAME)
    lines = ["## How much depends on the learning rate and the initialisation", ""]
    for arm in _arms(tables, results.treatment):
        grid = grid_of(tables, arm)
        if grid.isna().to_numpy().all():
            lines.append(f"- **{arm}**: in every cell a seed diverged.")
            continue
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
    lines += ["", f"![validation accuracy and ratio of steps over the grid](figures/{FIGURE}.png)"]
    return "\n".join(lines)


def _arms(tables: Tables, treatment: str) -> list[str]:
    return [arm for arm in (BASELINE, treatment) if arm in set(tables.runs["arm"])]


def figures(results: Results) -> dict[str, Figure]:
    """Heat maps over initial scale (rows) and learning rate (columns): each arm's accuracy, and the ratio of steps."""
    tables = tables_of(results, NAME)
    arms = _arms(tables, results.treatment)
    figure, [axes] = style.canvas(style.PAGE, 2.1, 1, len(arms) + 1)
    grids = [grid_of(tables, arm) for arm in arms]
    values = np.concatenate([grid.to_numpy(dtype=float).ravel() for grid in grids])
    top = 100 * float(values[np.isfinite(values)].max(initial=0.0))
    for panel, grid in zip(axes, grids, strict=False):
        style.heat_map(panel, 100 * grid, colours=Normalize(top - 20, top), map_name="viridis", text="{:.1f}")
        if grid.notna().to_numpy().any():
            scale, rate = best_cell(grid)
            row, column = (
                int(np.flatnonzero(axis == at)[0]) for axis, at in ((grid.index, scale), (grid.columns, rate))
            )
            panel.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, color="#D55E00", linewidth=1.4))
    ratios = steps_ratio(tables, results.treatment)
    style.heat_map(axes[-1], ratios, colours=LogNorm(1 / 8, 8), map_name="RdBu_r", text="{:.2f}")
    for panel in axes:
        panel.set_xlabel("learning rate")
    axes[0].set_ylabel("initial standard deviation")
    titles = [f"{style.name(arm)}: validation accuracy, %" for arm in arms] + ["steps, with over without"]
    style.panel_letters(axes, titles)
    steps = int(tables.runs["steps"].max())
    figure.suptitle(
        f"{tables.data_label}, {steps:,} steps, {style.count(tables.runs['seed'].nunique(), 'seed')}; boxed: best"
    )
    return {FIGURE: figure}


DECLARED = Experiment(NAME, 10, (), figures, section)
