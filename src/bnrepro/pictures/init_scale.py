"""Final test accuracy against the scale of the initial weights."""

from __future__ import annotations

from matplotlib.figure import Figure

from bnrepro.figures import COLUMN, canvas
from bnrepro.pictures.sweeps import accuracy_against
from bnrepro.results import Results


def figures(results: Results) -> dict[str, Figure]:
    """One line an arm: mean over seeds with its interval; diverged runs at the bottom."""
    tables = results.tables("init_scale")
    if tables is None:
        return {}
    figure, [[axes]] = canvas(COLUMN, 2.5)
    accuracy_against(axes, tables, "model.init_scale", ["none", results.treatment])
    axes.set(xscale="log", xlabel="initial standard deviation", ylabel="final test accuracy")
    axes.axhline(0.9, color="0.6", linewidth=0.6, linestyle=":")
    axes.legend(loc="lower center")
    axes.set_title(f"{tables.data_label}; mean of {tables.runs['seed'].nunique()} seeds, 95% interval", loc="left")
    return {"init_scale_accuracy": figure}
