"""Fig. 4 of Santurkar et al. 2018: loss and gradient along the negative gradient, over training."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnrepro.claims.style import PAGE, band, canvas, colour, name, panel_letters, thousands
from bnrepro.claims.sweep_plots import arms_of, style
from bnrepro.tables import Results


def figures(results: Results, experiment: str) -> dict[str, Figure]:
    """Shaded: from the smallest to the largest value over the step lengths, each the median of the seeds."""
    tables = results.tables(experiment)
    if tables is None or "landscape" not in tables.probes or tables.probes["landscape"].empty:
        return {}
    figure, [axes] = canvas(PAGE, 2.5, 1, 3)
    seen = tables.probes["landscape"]
    seeds = tables.runs["seed"].nunique()
    for arm in arms_of(tables, results.treatment):
        rows = seen[seen["arm"] == arm]
        if rows.empty:
            continue
        _range(axes[0], rows, "loss_low", "loss_high", arm, label=name(arm))
        axes[0].plot(*_median(rows, "loss"), style(arm), color=colour(arm), linewidth=0.8)
        _range(axes[1], rows, "change_low", "change_high", arm)
        axes[1].plot(*_median(rows, "change_mean"), style(arm), color=colour(arm), linewidth=0.8)
        band(axes[2], rows.pivot(index="step", columns="run", values="smoothness"), arm, style=style(arm))
    labels = ("loss of the mini-batch (nats)", "L2 change of the gradient", "effective β-smoothness")
    for panel, label in zip(axes, labels, strict=True):
        panel.set(xlabel="training steps", ylabel=label, yscale="log", xlim=(0, max(seen["step"].max(), 1)))
        thousands(panel)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    panel_letters(list(axes), ["range of the loss", "range of the gradient's change", "median and range of the seeds"])
    figure.suptitle(
        f"{tables.data_label}, {seeds} seeds; along the negative gradient, from the same weights and mini-batch "
        "(line: the start in a, the mean in b)",
        fontsize=8,
    )
    return {f"{experiment}_ranges": figure}


def _median(rows: pd.DataFrame, column: str) -> tuple[pd.Index, pd.Series]:
    """Steps, and the median of the seeds at each."""
    median = rows.groupby("step")[column].median()
    return median.index, median


def _range(axes: Axes, rows: pd.DataFrame, low: str, high: str, arm: str, label: str | None = None) -> None:
    steps, lowest = _median(rows, low)
    axes.fill_between(steps, lowest, _median(rows, high)[1], color=colour(arm), alpha=0.3, linewidth=0, label=label)
