"""The tuning grid as heat maps: each arm's validation accuracy, and how the ratio of steps depends on the choice."""

from __future__ import annotations

from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from bnrepro.claims.style import PAGE, canvas, heat_map, name, panel_letters
from bnrepro.stats.selection import best_cell, grid_of, steps_ratio
from bnrepro.tables import Results


def figures(results: Results) -> dict[str, Figure]:
    """Three heat maps over initial scale (rows) and learning rate (columns)."""
    tables = results.tables("mnist_tuning")
    if tables is None:
        return {}
    arms = [arm for arm in ("none", results.treatment) if arm in set(tables.runs["arm"])]
    figure, [axes] = canvas(PAGE, 2.1, 1, len(arms) + 1)
    for panel, arm in zip(axes, arms, strict=False):
        grid = grid_of(tables, arm)
        heat_map(panel, 100 * grid, colours=Normalize(80, 100), map_name="viridis", text="{:.1f}")
        scale, rate = best_cell(grid)
        row, column = grid.index.get_loc(scale), grid.columns.get_loc(rate)
        panel.plot(column, row, "s", markersize=17, markerfacecolor="none", color="#D55E00", markeredgewidth=1.2)
    ratios = steps_ratio(tables, results.treatment)
    heat_map(axes[-1], ratios, colours=LogNorm(1 / 8, 8), map_name="RdBu_r", text="{:.2f}")
    for panel in axes:
        panel.set_xlabel("learning rate")
    axes[0].set_ylabel("initial standard deviation")
    titles = [f"{name(arm)}: validation accuracy, %" for arm in arms] + ["steps, with over without"]
    panel_letters(list(axes), titles)
    steps = int(tables.runs["steps"].max())
    figure.suptitle(
        f"{tables.data_label}, {steps:,} steps, {tables.runs['seed'].nunique()} seeds; boxed: best", fontsize=8
    )
    return {"mnist_tuning_grid": figure}
