"""Final accuracy, and steps to 95%, against the learning rate: before and after the activation, sigmoid and ReLU."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnrepro import stats
from bnrepro.claims.style import PAGE, canvas, colour, name, panel_letters
from bnrepro.claims.sweep_plots import arms_of, ends_against, seeds_note, style
from bnrepro.stats.selection import RATE, ends
from bnrepro.tables import Results, Tables

ACTIVATIONS = {"sigmoid": "sigmoid", "relu": "ReLU"}
TARGET = 0.95


def figures(results: Results) -> dict[str, Figure]:
    """Two figures of a panel an activation."""
    tables = results.tables("learning_rate")
    if tables is None:
        return {}
    found = [activation for activation in ACTIVATIONS if activation in set(tables.runs["model.activation"])]
    arms = arms_of(tables, results.treatment)
    return {
        "learning_rate_accuracy": _accuracy(tables, found, arms),
        "learning_rate_steps": _steps(tables, found, arms),
    }


def _accuracy(tables: Tables, activations: list[str], arms: list[str]) -> Figure:
    figure, [axes] = canvas(PAGE, 2.5, 1, len(activations), sharey=True)
    runs = ends(tables)
    for panel, activation in zip(axes, activations, strict=True):
        panel.set(xscale="log", ylim=(0, 1), xlabel="learning rate")
        ends_against(panel, runs[runs["model.activation"] == activation], RATE, arms)
        panel.axhline(0.9, color="0.6", linewidth=0.6, linestyle=":")
    axes[0].set(ylabel="final test accuracy (× = diverged)")
    axes[0].legend(loc="center left")
    _titles(tables, axes, activations)
    return figure


def _steps(tables: Tables, activations: list[str], arms: list[str]) -> Figure:
    """Geometric mean and interval of the steps over the seeds that arrive; a rate at which one does not is marked."""
    figure, [axes] = canvas(PAGE, 2.5, 1, len(activations), sharey=True)
    accuracy = stats.curve(tables.metrics, "test", "accuracy")
    budget = float(accuracy.index.max())
    runs = tables.runs.set_index("run")
    runs = runs.assign(steps=stats.steps_to(accuracy, TARGET).reindex(runs.index))
    for panel, activation in zip(axes, activations, strict=True):
        panel.set(xscale="log", yscale="log", xlabel="learning rate")
        for index, arm in enumerate(arms):
            # Above the budget, arm above arm: a cross hides no other.
            never_at = budget * 1.25 ** (index + 1)
            _line(panel, runs[(runs["arm"] == arm) & (runs["model.activation"] == activation)], arm, never_at)
        panel.axhline(budget, color="0.6", linewidth=0.6, linestyle=":")
    axes[0].set(ylabel=f"training steps to {TARGET:.0%} test accuracy\n(× = not in every seed)")
    axes[-1].legend(loc="center right")
    _titles(tables, axes, activations)
    return figure


def _line(axes: Axes, runs: pd.DataFrame, arm: str, never_at: float) -> None:
    points, never = [], []
    for rate, group in runs.groupby(RATE):
        if group["steps"].isna().any():
            never.append(float(str(rate)))
        else:
            found = stats.paired_ratio(group["steps"].to_numpy(), np.ones(len(group)))
            points.append((float(str(rate)), found.value, found.low, found.high))
    columns = np.array(points).T if points else np.empty((4, 0))
    axes.plot(*columns[:2], style(arm), marker="o", markersize=2.5, color=colour(arm), label=name(arm))
    axes.fill_between(columns[0], columns[2], columns[3], color=colour(arm), alpha=0.18, linewidth=0)
    if never:
        axes.plot(never, np.full(len(never), never_at), "x", color=colour(arm), markersize=4, clip_on=False)


def _titles(tables: Tables, axes: np.ndarray, activations: list[str]) -> None:
    titles = [ACTIVATIONS[activation] for activation in activations]
    titles[0] += f"; {seeds_note(tables)}"
    panel_letters(list(axes), titles)
