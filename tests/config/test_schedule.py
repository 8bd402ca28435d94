"""When something is looked at: bounds that hold for every schedule, and the committed one's."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnrepro.config.compose import experiments
from bnrepro.config.schedule import evaluations, evenly, learning_rate, points
from bnrepro.config.schema import OptimizerConfig, ScheduleConfig
from bnrepro.stats import FINAL_EVALUATIONS

PAPER = ScheduleConfig(growth=0.05, min_interval=10, max_interval=500)


@settings(max_examples=200, deadline=None)
@given(
    steps=st.integers(0, 20_000),
    growth=st.floats(0, 1),
    low=st.integers(1, 300),
    spread=st.integers(0, 2000),
)
def test_points_start_at_0_end_at_the_last_step_and_keep_their_distance(
    steps: int, growth: float, low: int, spread: int
) -> None:
    found = points(steps, ScheduleConfig(growth=growth, min_interval=low, max_interval=low + spread))
    assert found[0] == 0
    assert found[-1] == steps
    for before, after in itertools.pairwise(found):
        assert 1 <= after - before <= low + spread
        assert after - before <= max(low, growth * before)
        if after != steps:
            assert after - before >= low
            assert after - before > min(low + spread, growth * before) - 1


def test_the_papers_length_is_seen_often_enough() -> None:
    found = points(50_000, PAPER)
    late = [(a, b) for a, b in itertools.pairwise(found) if a >= 200]
    assert all(b - a <= 0.05 * a for a, b in late)
    assert min(b - a for a, b in itertools.pairwise(found[:-1])) == 10
    assert max(b - a for a, b in itertools.pairwise(found)) == 500


def test_the_committed_experiment_observes_at_200_points_or_more(composed) -> None:
    [config, *_] = composed("experiment=mnist_training")
    assert len(points(config.steps, config.probes.activations)) >= 200
    evaluation = config.evaluation
    assert (evaluation.growth, evaluation.min_interval, evaluation.max_interval) == (0.05, 10, 500)


@pytest.mark.parametrize("experiment", experiments())
def test_quick_final_values_are_of_networks_that_have_trained(composed, experiment: str) -> None:
    """They are means of the last evaluations, none of which is of the first fifth of the run."""
    [config, *_] = composed(f"experiment={experiment}", "profile=quick")
    assert sorted(evaluations(config.steps, config.evaluation))[-FINAL_EVALUATIONS] >= config.steps / 5


@settings(max_examples=200, deadline=None)
@given(steps=st.integers(0, 10_000), count=st.integers(0, 60))
def test_evenly_covers_the_run(steps: int, count: int) -> None:
    found = evenly(steps, count)
    assert len(found) == min(count, steps + 1) if count != 1 else found == [steps]
    assert found == sorted(set(found))
    if count >= 2:
        assert (found[0], found[-1]) == (0, steps)
        gaps = [b - a for a, b in itertools.pairwise(found)]
        assert not gaps or max(gaps) - min(gaps) <= 1


def test_the_rate_falls_by_its_decay_over_the_run() -> None:
    optimizer = OptimizerConfig(lr=0.2, decay=0.25)
    assert [learning_rate(optimizer, step, 10) for step in (0, 5, 10)] == pytest.approx([0.2, 0.1, 0.05])
    assert learning_rate(optimizer, 0, 0) == 0.2
    assert learning_rate(OptimizerConfig(lr=0.2), 7, 10) == 0.2


@pytest.mark.parametrize(("steps", "count", "expected"), [(0, 5, [0]), (100, 5, [0, 25, 50, 75, 100]), (9, 0, [])])
def test_evenly_by_hand(steps: int, count: int, expected: list[int]) -> None:
    assert evenly(steps, count) == expected
