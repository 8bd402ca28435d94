"""Final test accuracy against the scale of the initial weights."""

from __future__ import annotations

from matplotlib.figure import Figure

from bnrepro.claims.style import COLUMN, canvas
from bnrepro.claims.sweep_plots import arms_of, around, ends_against, seeds_note
from bnrepro.stats.selection import SCALE, ends
from bnrepro.tables import Results


def figures(results: Results) -> dict[str, Figure]:
    """One line an arm: mean over seeds with its interval; diverged runs at the bottom."""
    tables = results.tables("init_scale")
    if tables is None:
        return {}
    figure, [[axes]] = canvas(COLUMN, 2.5)
    runs = ends(tables)
    low, high = around(runs["end"])
    axes.set(xscale="log", ylim=(low, high), xlabel="initial standard deviation", ylabel="final test accuracy")
    ends_against(axes, runs, SCALE, arms_of(tables, results.treatment), bottom=low)
    axes.axhline(0.9, color="0.6", linewidth=0.6, linestyle=":")
    axes.legend(loc="lower center")
    axes.set_title(seeds_note(tables), loc="left")
    return {"init_scale_accuracy": figure}
