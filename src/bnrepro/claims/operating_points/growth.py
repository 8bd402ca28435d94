"""§3.3: with BN larger weights get smaller gradients, and their growth stabilises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from bnrepro.claims.claim import Evidence, NotRun, tables_of
from bnrepro.claims.operating_points import effects, rules
from bnrepro.claims.operating_points.evidence import Question
from bnrepro.claims.operating_points.reading import Map, read
from bnrepro.stats import BASELINE, Estimate, paired_difference
from bnrepro.stats.selection import ends
from bnrepro.tables import Results, Tables

FIRST_LAYER, FACTOR = "first_layer", "model.first_layer_scale"

QUESTION = Question(
    rules.PARAMETER_GROWTH, effects.late_growth, "ratio of the weights' growth in the second half", effects.WHOLE
)


def parameter_growth(results: Results) -> Evidence:
    """The growth over the map; beside it the gradient's slope before training, and what a first layer ×10 costs."""
    found = QUESTION(results)
    estimates, notes = list(found.estimates), list(found.notes)
    estimates += gradient_slopes(read(results))
    try:
        beside, said = recovery(tables_of(results, FIRST_LAYER), results.treatment)
        estimates += beside
        notes += said
    except NotRun as reason:
        notes.append(reason.asked_of(results.treatment))
    return replace(found, estimates=estimates, notes=notes)


def gradient_slopes(found: Map) -> list[Estimate]:
    """Per arm, the slope of ln(gradient norm) on ln(weight norm) over the initial scales, at the first recorded step.

    The mean of the hidden layers; −1 where the gradient is inversely proportional to the weights, as §3.3 has it.
    """
    seen = effects.probe(found, "norms")
    seen = seen[(seen["step"] == seen["step"].min()) & (seen["layer"] < seen["layer"].max())]
    seen = seen[(seen["weight"] > 0) & (seen["gradient"] > 0)]
    logs = seen.assign(x=np.log(seen["weight"].astype(float)), y=np.log(seen["gradient"].astype(float)))
    estimates = []
    for arm in (BASELINE, found.treatment):
        slopes = []
        for seed in found.seeds:
            rows = logs[logs["run"].isin(found.names[arm][seed])]
            each = [_slope(layer["x"], layer["y"]) for _, layer in rows.groupby("layer")]
            each = [slope for slope in each if slope is not None]
            if each:
                slopes.append(float(np.mean(each)))
        if slopes:
            name = "slope of log gradient norm on log weight norm over the initial scales, before training"
            estimates.append(Estimate(name, arm, paired_difference(slopes), unit="number"))
    return estimates


def _slope(x: pd.Series, y: pd.Series) -> float | None:
    return float(np.polyfit(x, y, 1)[0]) if len(x) > 1 and np.ptp(x) > 0 else None


def recovery(tables: Tables, treatment: str) -> tuple[list[Estimate], list[str]]:
    """Final test accuracy with the first layer enlarged at the start minus that with it as it is, per arm and factor.

    Over the seeds that finished both; the notes say how many diverged.
    """
    runs = ends(tables)
    if FACTOR not in runs:
        raise NotRun(FIRST_LAYER, f"the runs of {FIRST_LAYER} have no {FACTOR}")
    # At its default the key leaves no trace in a record.
    runs = runs.fillna({FACTOR: 1.0})
    estimates, notes = [], []
    for arm in (BASELINE, treatment):
        mine = runs[runs["arm"] == arm]
        wide = mine.pivot_table(index="seed", columns=FACTOR, values="end")
        for factor in [each for each in wide.columns if each != 1.0]:
            lost = int((mine.loc[mine[FACTOR] == factor, "status"] == "diverged").sum())
            if lost:
                notes.append(f"first layer ×{factor:g}: {lost} runs of the arm {arm} diverged")
            gaps = (wide[factor] - wide[1.0]).dropna() if 1.0 in wide else []
            if len(gaps):
                name = f"final test accuracy, first layer ×{factor:g} at the start minus ×1"
                estimates.append(Estimate(name, arm, paired_difference(gaps), unit="difference"))
    if not estimates:
        raise NotRun(FIRST_LAYER, f"{FIRST_LAYER} has no seed with and without a larger first layer")
    return estimates, notes
