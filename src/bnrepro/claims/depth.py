"""Yang et al. 2019 and readers: how deep a plain stack trains with and without Batch Normalization."""

from __future__ import annotations

import ast

import pandas as pd

from bnrepro.claims.claim import Claim, Evidence, Experiment, Inapplicable, tables_of
from bnrepro.claims.operating_points import rules
from bnrepro.stats import BASELINE, Estimate, Interval, censored, curve
from bnrepro.stats.selection import RATE
from bnrepro.tables import Results, Tables

NAME, HIDDEN, DEPTH = "depth", "model.hidden", "depth"


def trains(tables: Tables, arm: str) -> pd.DataFrame:
    """Whether an arm trains at any rate, seeds (rows) × depths (columns); a depth without a run is absent."""
    accuracy = curve(tables.metrics, "validation", "accuracy")
    last = accuracy.ffill().iloc[-1]
    runs = tables.runs[tables.runs["arm"] == arm]
    runs = runs.assign(
        depth=[len(ast.literal_eval(str(hidden))) for hidden in runs[HIDDEN]],
        passed=(last.reindex(runs["run"]).to_numpy() >= rules.PASS) & (runs["status"] == "finished"),
    )
    return runs.pivot_table(index="seed", columns=DEPTH, values="passed", aggfunc="max")


def depth(results: Results) -> Evidence:
    tables = tables_of(results, NAME)
    arms = {arm: trains(tables, arm) for arm in (BASELINE, results.treatment)}
    shared = sorted(set.intersection(*(set(found.columns) for found in arms.values())))
    seeds = sorted(set.intersection(*(set(found[shared].dropna().index) for found in arms.values()))) if shared else []
    if len(shared) < 2 or not seeds:
        raise Inapplicable(f"no seed of {NAME} has both arms at two or more depths")
    # An arm that trains at no depth of the grid may train below its shallowest.
    nowhere = (0.0, float(shared[0]))
    limits = {
        arm: [
            censored.largest_passing(shared, [bool(found.loc[seed, each]) for each in shared]) or nowhere
            for seed in seeds
        ]
        for arm, found in arms.items()
    }
    bounds = [censored.ratio_bounds(mine, plain)
              for mine, plain in zip(limits[results.treatment], limits[BASELINE], strict=True)]  # fmt: skip
    estimates = [Estimate("ratio of the largest depths that train", results.treatment, _over(bounds), True)]
    estimates += [
        Estimate("largest number of hidden layers that trains", arm, _over(each), unit="number")
        for arm, each in limits.items()
    ]
    notes = [f"{arm}: {text}" for arm, found in arms.items() for text in [_share_by_depth(found, shared)]]
    rates = sorted(tables.runs[RATE].unique())
    notes.append(f"A depth trains if any of {len(rates)} rates does: {', '.join(f'{rate:g}' for rate in rates)}")
    frame = pd.DataFrame(bounds, index=pd.Index(seeds, name="seed"), columns=["from", "to"])
    return Evidence(estimates, notes, frame)


def _over(bounds: list[censored.Bounds]) -> Interval:
    return censored.over_seeds([low for low, _ in bounds], [high for _, high in bounds], log=True)


def _share_by_depth(found: pd.DataFrame, depths: list[int]) -> str:
    """How many seeds train at every depth: none is dropped, also where a deeper one trains and a shallower does not."""
    return "; ".join(
        f"{int(found[each].sum())} of {found[each].count()} seeds train at depth {each}" for each in depths
    )


CLAIMS = (
    Claim(
        slug="depth",
        group="C",
        origin="readers",
        sentence="With Batch Normalization plain stacks train at depths at which they otherwise do not.",
        source="readers; Yang et al. 2019 on where this ends",
        metric="ratio of the largest numbers of hidden layers at which any of the rates trains, with BN over without; "
        "each lies between two depths of the grid",
        unit="ratio",
        rule=rules.DEPTH,
        paper="trains a network of 22 layers; no experiment varies the depth",
        deviation="the network of §4.1 with 3, 5, 10, 20 and 50 hidden layers, 6 rates, 3,000 steps, 3 seeds",
        figure="depth_accuracy",
        numbers=depth,
    ),
)

DECLARED = Experiment(NAME, 55, CLAIMS)
