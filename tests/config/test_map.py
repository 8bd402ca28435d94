"""The experiments of the map: their grids, budgets and points of observation, as the claims read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest

from bnrepro.config.compose import details, expand
from bnrepro.config.identity import run_key
from bnrepro.config.schedule import evaluations, points, whole_evaluations
from bnrepro.config.schema import Config

Composed = Callable[..., list[Config]]
COUNTS = {
    "operating_points": {"full": 720, "quick": 64, "smoke": 16},
    "operating_points_digits": {"full": 432, "quick": 64, "smoke": 16},
    "stability_limit": {"full": 1080, "quick": 48, "smoke": 8},
    "depth": {"full": 360, "quick": 36, "smoke": 8},
    "first_layer": {"full": 20, "quick": 8, "smoke": 8},
}
"""Runs with one normaliser and without."""


@pytest.mark.parametrize("profile", ["full", "quick", "smoke"])
@pytest.mark.parametrize("experiment", COUNTS)
def test_every_run_is_another_and_none_is_missing(composed: Composed, experiment: str, profile: str) -> None:
    runs = composed(f"experiment={experiment}", f"profile={profile}")
    assert len(runs) == len({run_key(run, "") for run in runs}) == COUNTS[experiment][profile]
    assert Counter(run.norm["name"] for run in runs) == dict.fromkeys(("none", "batch"), len(runs) // 2)
    assert {run.data.name for run in runs} == {"digits" if experiment.endswith("digits") else "mnist"}


@pytest.mark.parametrize("experiment", ["operating_points", "operating_points_digits"])
def test_the_map_is_a_plane_of_half_decades(composed: Composed, experiment: str) -> None:
    runs = composed(f"experiment={experiment}")
    cells = {(run.model.init_scale, run.optimizer.lr) for run in runs}
    scales, rates = (sorted({cell[axis] for cell in cells}) for axis in (0, 1))
    assert len(cells) == len(scales) * len(rates) == 72
    assert (scales[0], scales[-1], rates[0], rates[-1]) == (0.001, 3, 0.01, 100)
    for before, after in [*pairwise(scales), *pairwise(rates)]:
        assert 3 <= round(after / before, 6) <= 3.4
    assert {run.model.activation for run in runs} == {"sigmoid"}


@pytest.mark.parametrize("budget", [2000, 5000, 10_000])
def test_the_map_is_evaluated_at_each_budget_and_shortly_before(composed: Composed, budget: int) -> None:
    """Final values at a budget are means of the last five evaluations up to it."""
    [run, *_] = composed("experiment=operating_points")
    found = evaluations(run.steps, run.evaluation)
    assert budget in found
    assert len([step for step in found if budget - 1000 <= step <= budget]) >= 5
    assert len(found) <= 50
    assert whole_evaluations(run.steps, run.evaluation) == {10_000}


@pytest.mark.parametrize(("profile", "least"), [("quick", 5), ("smoke", 3)])
def test_the_short_maps_are_looked_at_a_dozen_times(composed: Composed, profile: str, least: int) -> None:
    [run, *_] = composed("experiment=operating_points", f"profile={profile}")
    assert least <= len(evaluations(run.steps, run.evaluation)) <= 12


def test_the_map_is_probed_at_some_forty_points_which_give_every_part_a_drift(composed: Composed) -> None:
    [run, *_] = composed("experiment=operating_points")
    assert run.probes.summary.enabled
    found = points(run.steps, run.probes.summary)
    assert 35 <= len(found) <= 45
    assert sum(0.01 * 200 <= step <= 200 for step in found) >= 10


@pytest.mark.parametrize(("activation", "lowest", "highest"), [("sigmoid", 0.8, 69.2), ("relu", 0.09, 7.79)])
def test_the_ladder_of_rates_has_rungs_30_percent_apart(
    composed: Composed, activation: str, lowest: float, highest: float
) -> None:
    runs = [run for run in composed("experiment=stability_limit") if run.model.activation == activation]
    rates = sorted({run.optimizer.lr for run in runs})
    assert (len(rates), rates[0], rates[-1]) == (18, lowest, highest)
    assert all(abs(after / before / 1.3 - 1) < 0.01 for before, after in pairwise(rates))
    assert len({run.model.init_scale for run in runs}) == 5
    assert {run.model.init for run in runs} == {{"sigmoid": "gaussian", "relu": "kaiming"}[activation]}
    assert all(len(evaluations(run.steps, run.evaluation)) <= 8 for run in runs)


def test_depth_is_that_of_the_network(composed: Composed) -> None:
    runs = composed("experiment=depth")
    assert {tuple(run.model.hidden) for run in runs} == {(100,) * depth for depth in (3, 5, 10, 20, 50)}  # type: ignore[attr-defined]
    for activation in ("relu", "sigmoid"):
        assert len({run.optimizer.lr for run in runs if run.model.activation == activation}) == 6


def test_a_fixed_value_of_what_a_place_stands_for_makes_each_run_once(composed: Composed) -> None:
    runs = composed("experiment=stability_limit", "profile=smoke", "optimizer.lr=0.5", "seed=0")
    assert len(runs) == len({run_key(run, "") for run in runs}) == 2


def test_a_run_is_named_after_its_depth_and_the_place_of_its_rate() -> None:
    swept = details(expand(["profiles.depth=3,50", "profiles.rung=range(2)", "seed=0"]))
    assert set(swept) == {f"depth{depth}-rung{rung}" for depth in (3, 50) for rung in (0, 1)}


def test_first_layers_are_as_they_were_or_ten_times_as_large(composed: Composed) -> None:
    runs = composed("experiment=first_layer")
    assert {run.model.first_layer_scale for run in runs} == {1.0, 10.0}  # type: ignore[attr-defined]
    assert all(run.probes.summary.enabled for run in runs)
