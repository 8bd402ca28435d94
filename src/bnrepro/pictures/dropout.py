"""Train and test accuracy against dropout."""

from __future__ import annotations

from matplotlib.figure import Figure

from bnrepro.figures import PAGE, canvas, panel_letters
from bnrepro.pictures.sweeps import accuracy_against
from bnrepro.results import Results


def figures(results: Results) -> dict[str, Figure]:
    """Two panels: test accuracy, training accuracy."""
    tables = results.tables("dropout")
    if tables is None:
        return {}
    figure, [axes] = canvas(PAGE, 2.3, 1, 2)
    for panel, split in zip(axes, ("test", "train"), strict=True):
        accuracy_against(panel, tables, "model.dropout", ["none", results.treatment], split)
        panel.set(xlabel="dropout probability", ylabel=f"final {split} accuracy")
    axes[0].legend(loc="best")
    seeds = tables.runs["seed"].nunique()
    panel_letters(list(axes), [f"{tables.data_label}; mean of {seeds} seeds, 95% interval", "on the training examples"])
    return {"dropout_accuracy": figure}
