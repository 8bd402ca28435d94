"""Test accuracy and training loss of Batch Normalization with and without γ and β."""

from __future__ import annotations

from matplotlib.figure import Figure

from bnrepro import stats
from bnrepro.claims.style import PAGE, band, canvas, panel_letters, thousands
from bnrepro.tables import Results

ARMS = {"batch_no_affine": "--", "batch": "-"}


def figures(results: Results) -> dict[str, Figure]:
    """Two panels over training steps; median and range of the seeds."""
    tables = results.tables("affine")
    if tables is None:
        return {}
    figure, [axes] = canvas(PAGE, 2.3, 1, 2)
    for panel, (split, metric) in zip(axes, (("test", "accuracy"), ("train", "loss")), strict=True):
        curves = stats.curve(tables.metrics, split, metric)
        for arm, style in ARMS.items():
            runs = list(tables.runs.loc[tables.runs["arm"] == arm, "run"])
            if runs:
                band(panel, curves[runs], arm, style=style)
        panel.set(xlabel="training steps", xlim=(0, curves.index.max()))
        thousands(panel)
    axes[0].set(ylabel="test accuracy", ylim=(0.9, 1.0))
    axes[1].set(ylabel="training loss (nats)", yscale="log")
    axes[0].legend(loc="lower right")
    seeds = tables.runs["seed"].nunique()
    panel_letters(list(axes), [f"{tables.data_label}; {seeds} seeds", "mini-batch loss"])
    return {"affine_accuracy": figure}
