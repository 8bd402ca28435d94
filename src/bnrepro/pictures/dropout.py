"""Train and test accuracy against dropout."""

from __future__ import annotations

from matplotlib.figure import Figure

from bnrepro.claims.style import PAGE, canvas, panel_letters
from bnrepro.claims.sweep_plots import arms_of, around, ends_against, seeds_note
from bnrepro.stats.selection import ends
from bnrepro.tables import Results


def figures(results: Results) -> dict[str, Figure]:
    """Two panels: test accuracy, training accuracy."""
    tables = results.tables("dropout")
    if tables is None:
        return {}
    figure, [axes] = canvas(PAGE, 2.3, 1, 2)
    for panel, split in zip(axes, ("test", "train"), strict=True):
        runs = ends(tables, split)
        low, high = around(runs["end"])
        panel.set(xlabel="dropout probability", ylabel=f"final {split} accuracy", ylim=(low, high))
        ends_against(panel, runs, "model.dropout", arms_of(tables, results.treatment), bottom=low)
    axes[0].legend(loc="best")
    panel_letters(list(axes), [seeds_note(tables), "on the training examples"])
    return {"dropout_accuracy": figure}
