"""Fig. 1 of the paper, the readers' training-loss curve, and the activation histograms."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from bnrepro import stats
from bnrepro.claims import style
from bnrepro.claims.claim import tables_of
from bnrepro.claims.mnist_training.numbers import NAME, PERCENTILES, TARGET_LOSS, TYPICAL_UNIT
from bnrepro.stats import BASELINE
from bnrepro.tables import Results, Tables

SATURATED = 0.05
"""Outputs below this, and as far from 1, are saturated: as the probe counts them."""
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
    """Fig. 1a: test accuracy against training steps, median and range of the seeds; then without the first tenth.

    The second panel shows what the first has no room for. Dots mark where a median reaches the plain network's final
    accuracy.
    """
    figure, [axes] = style.canvas(style.PAGE, 2.8, 1, 2)
    curves = stats.curve(tables.metrics, "test", "accuracy")
    late = style.late(curves)
    for panel, shown in zip(axes, (curves[curves.index > 0], late), strict=True):
        for arm in arms:
            style.band(panel, style.curves_of(shown, tables, arm), arm, style=style.line(arm))
        panel.set_ylabel("test accuracy")
        if panel is axes[0]:  # on a linear axis of all steps, the rise from chance hides behind the y-axis
            panel.set_xscale("log")
            panel.xaxis.set_minor_formatter(NullFormatter())  # in short runs, its numbers would overlap
        style.training(panel, shown)
    if BASELINE in arms:
        target = float(stats.final(style.curves_of(curves, tables, BASELINE)).mean())
        style.mark(axes[1], target, f"final,\n{style.plain()}")
        for arm in arms:
            median = style.curves_of(late, tables, arm).median(axis=1)
            reached = median.index[median >= target]
            if len(reached):
                axes[1].plot(
                    reached[0], median[reached[0]], "o", color=style.colour(arm), markersize=5, zorder=4, clip_on=False
                )
    style.panel_letters(axes, ["all steps, logarithmic axis", "after the first tenth"])
    style.legend_below(figure, axes[0], len(arms))
    figure.suptitle(style.range_note(tables))
    return figure


def training_loss(tables: Tables, arms: list[str]) -> Figure:
    """The readers' figure: mean mini-batch loss since the last evaluation, on a log axis."""
    figure, [[axes]] = style.canvas(style.PAGE, 2.7)
    curves = stats.curve(tables.metrics, "train", "loss")
    for arm in arms:
        style.band(axes, style.curves_of(curves, tables, arm), arm, style=style.line(arm))
    axes.set(ylabel="mini-batch loss (nats)", yscale="log")
    style.mark(axes, TARGET_LOSS, f"target:\n{TARGET_LOSS:g}")
    style.legend_below(figure, axes, len(arms))
    figure.suptitle(style.range_note(tables))
    style.training(axes, curves)
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
            axes.plot(units.index, units[f"u{TYPICAL_UNIT}"], line, color=style.colour(arm))
            axes.plot(units.index, units.median(axis=1), line, color="0.55", linewidth=0.7)
            axes.plot([], [], line, color="0.3", label=f"{percentile}th percentile")
        axes.plot([], [], color="0.55", linewidth=0.7, label="median of all units")
        axes.set(xlabel="training steps", xlim=(0, rows["step"].max()))
        style.thousands(axes)
    panels[0].set_ylabel(f"input to the {activation}")
    style.panel_letters(panels, [style.name(arm) for arm in arms])
    style.legend_below(figure, panels[0], 4)
    figure.suptitle(f"{tables.data_label}, seed {seed}: the first unit of the last hidden layer")
    return figure


def activations(tables: Tables, arms: list[str]) -> Figure:
    """Ridgelines of every hidden layer's outputs over training, their saturated ends shaded; then the share in these.

    The share is the mean of the layers, median and range of the seeds.
    """
    seen = tables.probes["histograms"]
    seen = seen[seen["quantity"] == "output"]
    layers, steps = sorted(seen["layer"].unique()), sorted(seen["step"].unique())
    figure, axes = style.canvas(style.PAGE, 3.4, 1, len(layers) + 1, width_ratios=[*[1] * len(layers), 1.2])
    panels, last = axes[0, :-1], axes[0, -1]
    for panel, layer in zip(panels, layers, strict=True):
        for low, high in ((0, SATURATED), (1 - SATURATED, 1)):
            panel.axvspan(low, high, color="0.9", linewidth=0, zorder=0)
        # The baseline's dashes lie on top: where the arms agree, as they do before training, both show.
        for arm in reversed(arms):
            _ridges(panel, seen[(seen["arm"] == arm) & (seen["layer"] == layer)], steps, arm)
        panel.set(title=f"hidden layer {layer + 1}", xlim=(0, 1), ylim=(0.7 - len(steps), None))
        panel.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        panel.set_yticks([-float(height) for height in range(len(steps))], [""] * len(steps))
    top = max(panel.get_ylim()[1] for panel in panels)
    for panel in panels:
        panel.set_ylim(top=top)
    panels[0].set_yticklabels([f"step {step:,}" for step in steps])
    panels[len(layers) // 2].set_xlabel(f"output of the {tables.runs['model.activation'].iloc[0]}")
    _saturation(last, tables, arms)
    style.legend_below(figure, [last, panels[0]], len(arms) + 1)
    figure.suptitle(f"{tables.data_label}; height: square root of the share of outputs, all seeds")
    return figure


def _ridges(axes: Axes, rows: pd.DataFrame, steps: list[int], arm: str) -> None:
    counts = rows.groupby(["step", "low", "high"])["count"].sum().reset_index()
    for height, step in enumerate(steps):
        at = counts[counts["step"] == step]
        centres = (at["low"] + at["high"]).to_numpy() / 2
        # Square root: the saturated ends and the middle of one layer differ a hundredfold.
        share = RIDGE * np.sqrt(at["count"].to_numpy() / max(at["count"].sum(), 1))
        axes.plot(centres, share - height, style.line(arm), color=style.colour(arm), linewidth=0.9)
        axes.fill_between(centres, -float(height), share - height, color=style.colour(arm), alpha=0.15, linewidth=0)


def _saturation(axes: Axes, tables: Tables, arms: list[str]) -> None:
    """Percentage of outputs in the saturated ends against training steps."""
    axes.set(title="share, mean of the layers", xlabel="training steps", ylabel="saturated outputs, %")
    layers = tables.probes.get("layers")
    if layers is None:
        style.nothing(axes, "no shares recorded")
        return
    layers = layers[(layers["statistics"] == "running") & layers["arm"].isin(arms)]
    shares = 100 * layers.groupby(["step", "run"])["saturated"].mean().unstack()
    for arm in arms:
        style.band(axes, shares.filter(style.runs_of(tables, arm)), arm, style=style.line(arm))
    axes.set(xlim=(0, shares.index.max()), ylim=(0, None))
    style.thousands(axes)
