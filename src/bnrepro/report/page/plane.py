"""The map as data for the page: what every cell shows, and both arms' curves in it, thinned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bnrepro.claims import style
from bnrepro.claims.claim import NotRun
from bnrepro.claims.naming import asked_of, short
from bnrepro.claims.operating_points import effects, one_cell, rules
from bnrepro.claims.operating_points.plane import FASTEST
from bnrepro.claims.operating_points.reading import Cell, Map, read
from bnrepro.stats import BASELINE, BOTH, NEITHER, ONLY_BASELINE, ONLY_TREATMENT, Interval, amount
from bnrepro.tables import Results

POINTS = 26
"""A curve on the page has at most this many points, evenly spread over the logarithm of the steps."""
CURVES = {
    "validation": ("validation", "accuracy"), "test": ("test", "accuracy"), "loss": ("train", "loss"),
}  # fmt: skip
"""Name on the page → split and metric."""
KINDS = {
    BOTH: "both train", ONLY_TREATMENT: "only {treatment} trains", ONLY_BASELINE: "only the plain network trains",
    NEITHER: "neither trains",
}  # fmt: skip


REPEAT = (
    ".venv/bin/python scripts/train.py experiment={experiment}{profile} data={data} norm={{arm}} "
    "model.init_scale={{scale}} optimizer.lr={{rate}} seed={seed}"
)
"""The command that trains one run of a cell again."""


def plane(results: Results, profile: str = "full") -> dict[str, Any]:
    """The map's data. Raises :class:`~bnrepro.claims.claim.NotRun`, whose message says how to get it, without runs.

    ``cells`` are in the order of ``scales`` × ``rates``; one that lacks a run is None. Curves are per arm and name
    ``[mean, least, largest]`` over the seeds that have not diverged, at ``steps``; None where there is no such seed.
    """
    found = read(results)
    with asked_of(results.treatment):
        arms = [{"arm": arm, "name": style.name(arm), "short": "plain" if arm == BASELINE else short(arm),
                 "colour": style.colour(arm), "dashed": style.line(arm) != "-"}
                for arm in (BASELINE, found.treatment)]  # fmt: skip
    steps = thinned([int(step) for step in found.curve("validation", "accuracy").index if step > 0])
    view = _View(found, steps)
    complete = set(found.names.index)
    cells = [view.cell((scale, rate)) if (scale, rate) in complete else None
             for scale in found.scales for rate in found.rates]  # fmt: skip
    return {
        "experiment": found.tables.experiment, "data": found.tables.data_label, "budget": found.budget,
        "seeds": found.seeds, "pass": rules.PASS, "arms": arms, "scales": found.scales, "rates": found.rates,
        "steps": steps, "best": [_best(found, arm) for arm in (BASELINE, found.treatment)], "cells": cells,
        "counts": {kind: int((found.classes == kind).sum()) for kind in KINDS}, "fastest": FASTEST,
        "repeat": REPEAT.format(
            experiment=found.tables.experiment, seed=found.seeds[0], data=found.tables.runs["data.name"].iloc[0],
            profile="" if profile == "full" else f" profile={profile}",
        ),
    }  # fmt: skip


def thinned(steps: Sequence[int], points: int = POINTS) -> list[int]:
    """At most ``points`` of the ``steps`` (rising, above 0), spread over their logarithm, with the first and last."""
    if len(steps) <= points:
        return list(steps)
    wanted = np.geomspace(steps[0], steps[-1], points)
    logs = np.log(steps)
    return sorted({steps[int(np.abs(logs - np.log(each)).argmin())] for each in wanted})


def _best(found: Map, arm: str) -> int | None:
    """The number of an arm's best cell on validation; None if none has all seeds."""
    try:
        scale, rate = found.best(arm)
    except NotRun:
        return None
    return found.scales.index(scale) * len(found.rates) + found.rates.index(rate)


class _View:
    """One map, with what all cells are cut from."""

    def __init__(self, found: Map, steps: list[int]) -> None:
        self.found = found
        self.curves = {name: found.curve(*of).reindex(steps) for name, of in CURVES.items()}
        self.finals = {name: found.pair(found.final(*of)) for name, of in CURVES.items()}
        self.ratios = effects.over_cells(effects.steps_to_accuracy, found, found.cells())
        runs = found.tables.runs.set_index("run")
        self.diverged = runs["status"] == "diverged"

    def cell(self, cell: Cell) -> dict[str, Any]:
        found = self.found
        kind = str(found.classes.loc[cell])
        ratio = one_cell.speed(self.ratios, cell) if kind == BOTH else None
        return {
            "kind": kind,
            "said": KINDS[kind].format(treatment=short(found.treatment)),
            "ratio": None if ratio is None else rounded(ratio.value),
            "speed": amount(ratio, "ratio"),
            "gain": amount(self._difference(cell, "test"), "difference"),
            "arms": [self._arm(cell, place, arm) for place, arm in enumerate((BASELINE, found.treatment))],
        }

    def _arm(self, cell: Cell, place: int, arm: str) -> dict[str, Any]:
        names = [str(name) for name in self.found.names[arm].loc[cell]]
        units = {"validation": "share", "test": "share", "loss": "number"}
        ends = {name: one_cell.mean(one_cell.row(values[place], cell)) for name, values in self.finals.items()}
        return {
            "ends": {name: amount(found, units[name]) for name, found in ends.items()},
            "values": {name: None if found is None else rounded(found.value) for name, found in ends.items()},
            "pass": int(one_cell.row(self.found.passing[place], cell).sum()),
            "lost": int(self.diverged.reindex(names).sum()),
            "run": names[0],
            "curves": {name: banded(curves.reindex(columns=names)) for name, curves in self.curves.items()},
        }

    def _difference(self, cell: Cell, name: str) -> Interval | None:
        plain, treated = (one_cell.row(values, cell) for values in self.finals[name])
        return one_cell.mean(treated - plain)


def banded(curves: pd.DataFrame) -> list[list[float | None]]:
    """Mean, least and largest over the columns of ``curves``, a list over its rows each; None where all are missing."""
    return [[rounded(value) for value in found] for found in
            (curves.mean(axis=1), curves.min(axis=1), curves.max(axis=1))]  # fmt: skip


def rounded(value: float) -> float | None:
    """Four significant digits, as a drawing and a number on the page need; None if not finite."""
    return float(f"{value:.4g}") if math.isfinite(value) else None
