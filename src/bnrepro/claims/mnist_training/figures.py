"""Fig. 1 of the paper, the readers' training-loss curve, and the activation histograms."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnrepro import stats
from bnrepro.claims import style
from bnrepro.claims.claim import tables_of
from bnrepro.claims.mnist_training.numbers import NAME, PERCENTILES, TARGET_LOSS, TYPICAL_UNIT
from bnrepro.stats import BASELINE
from bnrepro.tables import Results, Tables

RIDGE = 1.4
"""Height of a ridge with all outputs in one bin, in distances between two ridges."""


def figures(results: Results) -> dict[str, Figure]:
    """The figures by file name: those of a probe only where the runs recorded it."""
    tables = tables_of(results, NAME)
    arms = [arm for arm in (BASELINE, results.treatment) if arm in set(tables.runs["arm"])]
    found = {
        "mnist_training_accuracy": accuracy(tables, arms),
        "mnist_training_loss": training_loss(tables, arms),
    }
    if "activations" in tables.probes:
        found["mnist_training_inputs"] = inputs(tables, arms)
    if "histograms" in tables.probes:
        found["mnist_training_activations"] = activations(tables, arms)
    return found


def accuracy(tables: Tables, arms: list[str]) -> Figure:
    """Fig. 1a: test accuracy against training steps, median and range of the seeds."""
    figure, [[axes]] = style.canvas(style.COLUMN, 2.5)
    curves = stats.curve(tables.metrics, "test", "accuracy")
    for arm in arms:
        style.band(axes, curves[style.runs_of(tables, arm)], arm, style=style.line(arm))
    seeds = tables.runs["seed"].nunique()
    axes.set(xlabel="training steps", ylabel="test accuracy", ylim=(0.7, 1.0), xlim=(0, curves.index.max()))
    axes.set_title(f"{tables.data_label}; median and range of {seeds} seeds", loc="left")
    axes.legend(loc="lower right")
    style.thousands(axes)
    _late_part(axes, curves, tables, arms)
    return figure


def _late_part(axes: Axes, curves: pd.DataFrame, tables: Tables, arms: list[str]) -> None:
    """An inset of the curves after the first tenth: the paper's axis leaves no room to see the difference."""
    late = curves[curves.index >= curves.index.max() / 10]
    shown = late[[run for arm in arms for run in style.runs_of(tables, arm)]]
    inset = axes.inset_axes((0.36, 0.34, 0.6, 0.38))
    for arm in arms:
        style.band(inset, late[style.runs_of(tables, arm)], arm, style=style.line(arm))
    low, high = np.nanquantile(shown.to_numpy(), [0.02, 1.0])
    inset.set_ylim(low - 0.002, high + 0.002)
    inset.set_xlim(late.index.min(), late.index.max())
    inset.tick_params(labelsize=6)
    style.thousands(inset)


def training_loss(tables: Tables, arms: list[str]) -> Figure:
    """The readers' figure: mean mini-batch loss since the last evaluation, on a log axis."""
    figure, [[axes]] = style.canvas(style.COLUMN, 2.4)
    curves = stats.curve(tables.metrics, "train", "loss")
    for arm in arms:
        style.band(axes, curves[style.runs_of(tables, arm)], arm, style=style.line(arm))
    axes.axhline(TARGET_LOSS, **style.GUIDE)
    axes.set(xlabel="training steps", ylabel="training loss (nats)", yscale="log", xlim=(0, curves.index.max()))
    axes.set_title(f"{tables.data_label}; mini-batch loss", loc="left")
    axes.legend(loc="upper right")
    style.thousands(axes)
    return figure


def inputs(tables: Tables, arms: list[str]) -> Figure:
    """Fig. 1b, c: percentiles of the inputs to a sigmoid of the last hidden layer over training, on one y-axis.

    Shows the seed that most of the arms have; of several such seeds, the smallest.
    """
    seen = tables.probes["activations"]
    seen = seen[(seen["statistics"] == "running") & seen["arm"].isin(arms)]
    seed = seen.groupby("seed")["arm"].nunique().idxmax()
    seen = seen[seen["seed"] == seed]
    arms = [arm for arm in arms if arm in set(seen["arm"])]
    figure, [panels] = style.canvas(style.PAGE, 2.4, 1, len(arms), sharey=True)
    activation = tables.runs["model.activation"].iloc[0]
    for axes, arm in zip(panels, arms, strict=True):
        rows = seen[seen["arm"] == arm]
        rows = rows[rows["run"] == rows["run"].iloc[0]]
        for percentile, line in zip(reversed(PERCENTILES), ("--", "-", ":"), strict=True):
            units = rows[rows["percentile"] == percentile].set_index("step").filter(regex=r"^u\d+$")
            label = f"{percentile}th percentile"
            axes.plot(units.index, units[f"u{TYPICAL_UNIT}"], line, color=style.colour(arm), label=label)
            axes.plot(units.index, units.median(axis=1), line, color="0.55", linewidth=0.7)
        axes.set(xlabel="training steps", xlim=(0, rows["step"].max()))
        style.thousands(axes)
        axes.legend(loc="upper center", ncols=3, handlelength=1.6, columnspacing=0.8, handletextpad=0.4, fontsize=7)
    panels[0].set_ylabel(f"input to the {activation}")
    low, high = panels[0].get_ylim()
    panels[0].set_ylim(low, high + 0.15 * (high - low))
    style.panel_letters(panels, [style.name(arm) for arm in arms])
    figure.suptitle(
        f"{tables.data_label}, seed {seed}: the first unit of the last hidden layer (grey: median of its units)"
    )
    return figure


def activations(tables: Tables, arms: list[str]) -> Figure:
    """Ridgelines: the distribution of every hidden layer's outputs at several points of training."""
    seen = tables.probes["histograms"]
    seen = seen[seen["quantity"] == "output"]
    layers, steps = sorted(seen["layer"].unique()), sorted(seen["step"].unique())
    figure, [panels] = style.canvas(style.PAGE, 3.2, 1, len(layers), sharey=True)
    for axes, layer in zip(panels, layers, strict=True):
        for arm in arms:
            shade = style.colour(arm)
            chosen = seen[(seen["arm"] == arm) & (seen["layer"] == layer)]
            counts = chosen.groupby(["step", "low", "high"])["count"].sum().reset_index()
            for height, step in enumerate(steps):
                rows = counts[counts["step"] == step]
                centres = (rows["low"] + rows["high"]).to_numpy() / 2
                # Square root: the saturated ends and the middle of one layer differ a hundredfold.
                share = RIDGE * np.sqrt(rows["count"].to_numpy() / rows["count"].sum())
                base = -float(height)
                label = style.name(arm) if not height else None
                axes.plot(centres, base + share, color=shade, linewidth=0.8, label=label)
                axes.fill_between(centres, base, base + share, color=shade, alpha=0.2, linewidth=0)
        axes.set_title(f"hidden layer {layer + 1}")
        axes.set_xlabel(f"output of the {tables.runs['model.activation'].iloc[0]}")
    panels[0].set_yticks([-float(height) for height in range(len(steps))], [f"step {step:,}" for step in steps])
    style.legend_below(figure, panels[0], len(arms))
    figure.suptitle(f"{tables.data_label}; height: square root of the share of outputs, all seeds")
    return figure
