"""The comparison of normalisers on runs with known answers: every column is judged against the same runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fabricated_inception as inception
import mapped
import pandas as pd
import pytest
from fabricated import finish, publish
from matplotlib.figure import Figure

from bnrepro.claims import style
from bnrepro.claims.comparison import ROWS, figure
from bnrepro.claims.comparison import rows as asked
from bnrepro.claims.comparison.words import PLACES, SAYS, SITUATIONS
from bnrepro.config.schema import Config
from bnrepro.stats import VERDICTS
from bnrepro.tables import Measured, Results, Tables

SCALES, RATES = (0.03, 0.1, 0.3, 1.0), (0.3, 1.0, 3.0)
ENDS = {"none": 0.95, "batch": 0.97, "good": 0.968, "bad": 0.93}
STARTS = {"none": 3000, "batch": 1000, "good": 1000, "bad": 8000}
"""Arm → the step from which on it is at its end. Those with a high end reach the plain network's at once."""
LIMITS = {"none": 1.0, "batch": 3.0, "good": 10.0, "bad": 1.0}
"""Arm → the largest rate that trains on the ladder."""


def run(arm: str, scale: float, rate: float, seed: int) -> mapped.Run:
    end = ENDS[arm] - (0.01 if rate != 1.0 else 0) + seed / 1e5
    # A little higher at first, so that an arm reaches its own final accuracy at once.
    return mapped.Run(lambda step: 0.1 if step < STARTS[arm] else end + 0.0005 if step < 6000 else end)


def on_ladder(arm: str, scale: float, rate: float, seed: int) -> mapped.Run:
    return mapped.flat(0.95 if rate <= LIMITS[arm] else 0.1)


class Known(Results):
    """Results in memory, which count how often the map is asked for."""

    asked = 0

    def tables(self, experiment: str) -> Tables | None:
        if experiment == "operating_points":
            Known.asked += 1
            return mapped.tables(run, scales=SCALES, rates=RATES, arms=tuple(ENDS))
        if experiment == "stability_limit":
            rates = (1.0, 3.0, 10.0, 30.0)
            return mapped.tables(on_ladder, experiment, SCALES, rates, arms=tuple(ENDS))
        return None

    def measured(self, name: str) -> Measured | None:
        seconds = {"none": 1.0, "batch": 1.5, "good": 2.0}
        rows = [("mlp", arm, turn, each * (1 + turn / 100)) for arm, each in seconds.items() for turn in range(3)]
        return Measured(name, pd.DataFrame(rows, columns=["model", "arm", "round", "seconds"]), pd.Series())


def judged(treatment: str) -> dict[tuple[str, str], Any]:
    results = Known(Path()).asked_of(treatment)
    return {(row.where, row.slug): row.claim.asked_of(treatment).judge(results) for row in ROWS}


@pytest.fixture(scope="module")
def columns() -> dict[str, dict[tuple[str, str], Any]]:
    return {name: judged(name) for name in ("batch", "good", "bad")}


@pytest.mark.parametrize(
    ("where", "claim", "batch", "good", "bad"),
    [
        ("map", "faster_training", "supported", "supported", "contradicted"),
        ("map", "higher_accuracy", "supported", "supported", "contradicted"),
        ("both tuned", "faster_training", "supported", "supported", "contradicted"),
        ("both tuned", "higher_accuracy", "supported", "supported", "contradicted"),
        ("both tuned", "as_accurate_as_batch", "not run", "supported", "contradicted"),
        ("rates, sigmoid", "higher_learning_rates", "weaker", "supported", "inconclusive"),
        ("Fig. 1", "faster_training", "not run", "not run", "not run"),
        ("a step, MLP", "step_cost", "measured", "measured", "not run"),
    ],
)
def test_each_normaliser_has_its_own_verdict(columns: dict, where: str, claim: str, batch: str, good: str, bad: str):
    found = {name: column[where, claim].verdict for name, column in columns.items()}
    assert found == {"batch": batch, "good": good, "bad": bad}


def test_tuned_numbers_are_those_at_each_arms_own_best_cell(columns: dict) -> None:
    """Every arm is best at rate 1, where it is a point better than elsewhere."""
    gaps = {name: columns[name]["both tuned", "as_accurate_as_batch"].primary for name in ("good", "bad")}
    assert gaps["good"].interval.value == pytest.approx(-0.002)
    assert gaps["bad"].interval.value == pytest.approx(-0.04)
    assert columns["good"]["both tuned", "higher_accuracy"].primary.interval.value == pytest.approx(0.018)
    assert columns["good"]["a step, MLP", "step_cost"].primary.interval.value == pytest.approx(2.0)


def test_cells_in_which_one_arm_alone_trains_are_counted(columns: dict) -> None:
    """All arms train in all of the 12 cells here."""
    found = columns["good"]["trains", "cells_trained"]
    assert found.verdict == "measured"
    assert found.primary.said == "12 of 12, without it 12, both in 12"
    assert columns["good"]["both tuned", "higher_accuracy"].notes == ["0.03 and 1, on the edge of the grid"] * 2


def test_nothing_of_another_normaliser_is_called_batch_normalization(columns: dict) -> None:
    for row in ROWS:
        claim = row.claim.asked_of("good")
        assert "Batch Normalization" not in claim.sentence + claim.metric
        assert "BN " not in claim.sentence
        for estimate in columns["good"][row.where, row.slug].estimates:
            assert not {"BN", "Normalization"} & set(estimate.name.replace("-x5", " x5").split()), estimate.name


def test_tables_are_read_once_for_all_columns(tmp_path: Path) -> None:
    first = Results(tmp_path)
    assert first.asked_of("layer").asked_of("batch") is first
    assert first.asked_of("batch") is first
    known = Known(Path())
    Known.asked = 0
    known.asked_of("good").tables("operating_points")
    assert Known.asked == 1


def with_layer_norm(composed: Callable[..., list[Config]], top: float, start: int, folder: Path) -> Results:
    plan = inception.AS_THE_PAPER
    inception.made(composed, plan, folder, "arm=inception,bn_x5", "seed=0,1,2")
    for config in composed("experiment=inception_normalisers", *inception.DIGITS, "steps=3200", "norm=layer"):
        curve = lambda seed, step: top + seed / 500 if step >= start else 0.3  # noqa: E731
        finish(config, {"test/accuracy": curve}, inception.STEPS)
    publish("inception_normalisers", folder)
    return Results(folder, "layer")


@pytest.mark.parametrize(
    ("top", "start", "verdicts"),
    [
        (0.71, 400, ("supported", "supported", "supported")),
        (0.71, 2000, ("inconclusive", "supported", "supported")),  # 3,200 steps are as many as Inception takes
        # It never gets there, in as many steps as Inception takes: at least 1×.
        (0.65, 400, ("inconclusive", "contradicted", "contradicted")),
    ],
)
def test_the_inception_with_another_normaliser_is_paired_with_that_without(
    composed: Callable[..., list[Config]], tmp_path: Path, top: float, start: int, verdicts: tuple[str, ...]
) -> None:
    results = with_layer_norm(composed, top, start, tmp_path)
    rows = [row for row in ROWS if row.where == "Inception"]
    assert tuple(row.claim.judge(results).verdict for row in rows) == verdicts
    batch = results.asked_of("batch")
    assert [row.claim.judge(batch).verdict for row in rows] == ["supported", "supported", "not run"]
    steps, _, gap = (row.claim.judge(results).primary for row in rows)
    assert steps is not None
    assert (steps.interval.high == float("inf")) == (top < 0.7)
    assert gap is not None
    assert gap.interval.value == pytest.approx(top - 0.72)


def test_every_row_has_words() -> None:
    assert {row.slug for row in ROWS} == set(SAYS)
    assert {row.where for row in ROWS} | {"report"} == set(PLACES)
    known = {(row.where, row.slug) for row in ROWS}
    assert all(set(rows) <= known for _, rows in SITUATIONS)
    assert len(known) == len(ROWS)
    assert asked.EXPERIMENTS[0] == "operating_points"


def texts(drawn: Figure) -> list[str]:
    return [text.get_text() for text in drawn.axes[0].texts]


def test_the_picture_has_a_cell_for_every_verdict() -> None:
    cells = [("map", "higher_accuracy", verdict, 0.5, "share") for verdict in VERDICTS]
    frame = pd.DataFrame([
        {"where": where, "claim": claim, "normaliser": f"norm{at}", "profile": "exam", "data": "digits",
         "verdict": verdict, "estimate": value if verdict != "not run" else None, "high": 0.6, "n": 3, "unit": unit}
        for at, (where, claim, verdict, value, unit) in enumerate(cells)
    ])  # fmt: skip
    with style.house_style():
        drawn = figure.draw(frame)
        fills = [patch.get_facecolor() for patch in drawn.axes[0].patches]
    assert len(fills) == len(VERDICTS)
    assert len(set(fills)) == len(VERDICTS) - 1  # what is measured and what was not run are white
    shown = texts(drawn)
    assert shown.count("50%") == len(VERDICTS) - 1
    assert shown.count("–") == 1
    assert {"✔", "≈", "±", "?", "✘"} <= set(shown)
    names = [text.get_text() for text in drawn.axes[0].get_xticklabels()]
    assert names == [f"norm{at}" for at in range(len(VERDICTS))]
    bound = frame.assign(unit="ratio", high=float("inf"), low=0.47)
    with style.house_style():
        assert texts(figure.draw(bound)).count("≥0.4×") == len(VERDICTS) - 1
    mixed = frame.assign(profile=["exam", *["quick"] * (len(VERDICTS) - 1)])
    with style.house_style():
        labels = [text.get_text() for text in figure.draw(mixed).axes[0].get_xticklabels()]
    assert labels[:2] == ["norm0 (exam)", "norm1 (quick)"]
