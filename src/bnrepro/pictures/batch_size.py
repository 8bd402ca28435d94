"""Final test accuracy against the size of the mini-batch."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from bnrepro.claims.style import COLUMN, canvas
from bnrepro.claims.sweep_plots import arms_of, around, ends_against, seeds_note
from bnrepro.stats.selection import RATE, best_by, ends
from bnrepro.tables import Results

SIZE = "batch_size"


def figures(results: Results) -> dict[str, Figure]:
    """One line an arm, at every size with its best learning rate on validation."""
    tables = results.tables("batch_size")
    if tables is None:
        return {}
    validation, test = ends(tables, "validation"), ends(tables)
    best = [
        group.index[group[RATE] == rate]
        for _, group in validation.groupby(["arm", SIZE])
        if (rate := best_by(group, RATE)) is not None
    ]
    runs = test.loc[[run for index in best for run in index]] if best else test.iloc[:0]
    sizes = sorted(pd.unique(test[SIZE]))
    low, high = around(runs["end"])
    figure, [[axes]] = canvas(COLUMN, 2.5)
    axes.set(xscale="log", xlabel="examples in a mini-batch", ylabel="final test accuracy", ylim=(low, high))
    ends_against(axes, runs, SIZE, arms_of(tables, results.treatment), bottom=low)
    axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.legend(loc="lower right")
    axes.set_title(seeds_note(tables), loc="left")
    return {"batch_size_accuracy": figure}
