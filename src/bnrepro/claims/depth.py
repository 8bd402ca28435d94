"""Readers; Yang et al. 2019: how deep a plain stack trains with and without Batch Normalization."""

from __future__ import annotations

import ast

import pandas as pd
from matplotlib.figure import Figure

from bnrepro.claims import style, sweeps
from bnrepro.claims.claim import Claim, Evidence, Experiment, Inapplicable, NotRun, tables_of
from bnrepro.claims.operating_points import rules
from bnrepro.claims.operating_points.rules import RELU, SIGMOID
from bnrepro.stats import BASELINE, Estimate, Interval, censored, curve
from bnrepro.stats.selection import RATE
from bnrepro.tables import Results, Tables

NAME, HIDDEN, ACTIVATION = "depth", "model.hidden", "model.activation"
LABELS = {RELU: "ReLU", SIGMOID: "sigmoid"}
"""The first decides: see :mod:`bnrepro.claims.operating_points.rules`."""


def with_ends(tables: Tables) -> pd.DataFrame:
    """The runs with their ``depth``, ``last`` validation accuracy (NaN: diverged), and whether they ``passed``."""
    runs = tables.runs
    last = curve(tables.metrics, "validation", "accuracy").ffill().iloc[-1].reindex(runs["run"]).to_numpy()
    depths = [len(ast.literal_eval(str(hidden))) for hidden in runs[HIDDEN]]
    runs = runs.assign(depth=depths, last=last)
    runs["last"] = runs["last"].where(runs["status"] == "finished")
    return runs.assign(passed=runs["last"] >= rules.PASS)


def depth(results: Results) -> Evidence:
    runs = with_ends(tables_of(results, NAME))
    estimates: list[Estimate] = []
    notes: list[str] = []
    frame: pd.DataFrame | None = None
    for activation, label in LABELS.items():
        chosen = runs[runs[ACTIVATION] == activation]
        try:
            limits, bounds, said = _limits(chosen, results.treatment)
        except NotRun as reason:
            if activation == RELU:
                raise
            notes.append(f"{label}: {reason}")
            continue
        decides = activation == RELU
        name = f"ratio of the largest depths that train, {label}"
        estimates.append(
            Estimate(name, results.treatment, _over(list(bounds.itertuples(index=False, name=None))), decides)
        )
        estimates += [
            Estimate(f"largest number of hidden layers that trains, {label}", arm, _over(each), unit="number")
            for arm, each in limits.items()
        ]
        notes += [f"{label}, {text}" for text in said]
        frame = bounds if decides else frame
    return Evidence(estimates, notes, frame)


def _limits(runs: pd.DataFrame, treatment: str) -> tuple[dict[str, list[censored.Bounds]], pd.DataFrame, list[str]]:
    """By arm, the bounds of every seed's limit; of the ratio; and how many seeds train at every depth."""
    arms = {
        arm: runs[runs["arm"] == arm].pivot_table(index="seed", columns="depth", values="passed", aggfunc="max")
        for arm in (BASELINE, treatment)
    }
    depths = sorted(set.intersection(*(set(found.columns) for found in arms.values())))
    seeds = sorted(set.intersection(*(set(found[depths].dropna().index) for found in arms.values()))) if depths else []
    if len(depths) < 2 or not seeds:
        raise Inapplicable(f"no seed of {NAME} has both {BASELINE} and {treatment} at two or more depths")
    nowhere = (0.0, float(depths[0]))  # it may train with fewer layers than the shallowest has
    limits = {
        arm: [
            censored.largest_passing(depths, [bool(found.loc[seed, each]) for each in depths]) or nowhere
            for seed in seeds
        ]
        for arm, found in arms.items()
    }
    bounds = [censored.ratio_bounds(*pair) for pair in zip(limits[treatment], limits[BASELINE], strict=True)]
    counts = [
        f"{arm}: "
        + "; ".join(f"{int(found.loc[seeds, each].sum())} of {len(seeds)} seeds at depth {each}" for each in depths)
        for arm, found in arms.items()
    ]
    rates = ", ".join(f"{rate:.3g}" for rate in sorted(runs[RATE].unique()))
    frame = pd.DataFrame(bounds, index=pd.Index(seeds, name="seed"), columns=["from", "to"])
    return limits, frame, [*counts, f"a depth trains if any of the rates does: {rates}"]


def _over(bounds: list[censored.Bounds]) -> Interval:
    return censored.over_seeds([low for low, _ in bounds], [high for _, high in bounds], log=True)


CLAIMS = (
    Claim(
        slug="depth",
        group="C",
        origin="readers",
        sentence="With Batch Normalization, plain stacks of layers train at depths at which they otherwise do not.",
        source="readers; Yang et al. 2019 on where this ends",
        metric="ratio of the largest numbers of hidden layers at which any of the rates trains, with BN over without, "
        "ReLU; each lies between two depths of the grid",
        unit="ratio",
        network="MLP of 3 to 50 hidden layers",
        rule=rules.DEPTH,
        paper="trains a network of 22 layers; no experiment varies the depth",
        deviation="fully connected stacks on binary MNIST with 3, 5, 10, 20 and 50 hidden layers of 100, ReLU from "
        "Kaiming's initialisation and sigmoid beside, 6 rates each, 3,000 steps, 3 seeds",
        figure="depth_accuracy",
        numbers=depth,
    ),
)


def figures(results: Results) -> dict[str, Figure]:
    """Last validation accuracy against the depth, each arm at its best rate there: a panel per nonlinearity."""
    tables = tables_of(results, NAME)
    runs = with_ends(tables).assign(end=lambda found: found["last"])
    shown = [activation for activation in LABELS if activation in set(runs[ACTIVATION])]
    arms = style.arms_of(tables, results.treatment)
    figure, [axes] = style.canvas(style.PAGE, 2.9, 1, len(shown), sharey=True)
    for panel in axes:
        panel.set(xscale="log", xlabel="hidden layers", ylim=(0, 1))
        depths = sorted(runs["depth"].unique())
        panel.set_xticks(depths, [f"{each}" for each in depths])
        panel.minorticks_off()
    sweeps.ends_against(axes, [at_best_rate(runs[runs[ACTIVATION] == each]) for each in shown], "depth", arms)
    axes[0].set_ylabel("accuracy on validation, best rate")
    style.mark(axes[-1], rules.PASS, f"trains:\n{rules.PASS:.0%}")
    for panel in axes[:-1]:
        panel.axhline(rules.PASS, **style.GUIDE)
    style.panel_letters(axes, [LABELS[each] for each in shown])
    style.legend_below(figure, axes, len(arms))
    figure.suptitle(style.seeds_note(tables))
    return {"depth_accuracy": figure}


def at_best_rate(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs of each arm and depth at the rate with the highest mean; at the smallest where all of them diverge."""
    kept = []
    for _, rows in runs.groupby(["arm", "depth"]):
        means = rows.groupby(RATE)["end"].agg(lambda values: values.mean(skipna=False))
        kept.append(rows[rows[RATE] == (means.idxmax() if means.notna().any() else means.index[0])])
    return pd.concat(kept) if kept else runs


DECLARED = Experiment(NAME, 55, CLAIMS, figures)
