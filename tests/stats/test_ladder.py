"""Limits between two rungs of a ladder, and their ratios over seeds."""

from __future__ import annotations

import math

import pytest

from bnrepro.stats.intervals import Interval
from bnrepro.stats.ladder import Beyond, Bracket, across_seeds, bracket, ratio


@pytest.mark.parametrize(
    ("trains", "low", "high"),
    [
        ({1: True, 2: True, 5: False}, 2, 5),
        ({1: True, 2: True, 5: True}, 5, math.inf),
        ({1: False, 2: False, 5: False}, 0, 1),
        ({1: True, 2: False, 5: True, 10: False}, 1, 10),  # between the first that fails and the last that trains
        ({1: False, 2: True, 5: False}, 0, 5),
        ({1: True, 2: False, 5: True}, 1, math.inf),
        ({5: False, 1: True, 2: True}, 2, 5),  # in any order
    ],
)
def test_the_limit_lies_between_two_rungs(trains: dict[float, bool], low: float, high: float) -> None:
    assert bracket(trains) == Bracket(low, high)


def test_a_ladder_without_rungs_has_no_limit() -> None:
    with pytest.raises(ValueError, match="one rung"):
        bracket({})


def test_a_ratio_takes_the_ends_that_are_farthest_apart() -> None:
    assert ratio(Bracket(0.6, 2), Bracket(0.1, 0.2)) == Bracket(3, 20)
    assert ratio(Bracket(30, math.inf), Bracket(5, 10)) == Bracket(3, math.inf)
    assert ratio(Bracket(30, 100), Bracket(0, 1)) == Bracket(30, math.inf)
    assert ratio(Bracket(30, 100), Bracket(100, math.inf)) == Bracket(0, 1)


def test_seeds_that_agree_leave_the_width_of_the_ladder() -> None:
    found = across_seeds([Bracket(3, 20)] * 3)
    assert (found.low, found.high, found.n) == (3, 20, 3)
    assert found.value == pytest.approx(math.sqrt(60))


def test_seeds_that_differ_reach_beyond_their_own_ends() -> None:
    found = across_seeds([Bracket(1, 2), Bracket(2, 5), Bracket(5, 10)])
    # Student's t with two degrees of freedom, 4.303, of the logarithms.
    logs = [math.log(each) for each in (1, 2, 5)]
    mean = sum(logs) / 3
    error = math.sqrt(sum((each - mean) ** 2 for each in logs) / 2 / 3)
    assert found.low == pytest.approx(math.exp(mean - 4.30265 * error), rel=1e-4)
    assert found.low < 1
    assert found.high > 10


def test_an_end_unknown_in_one_seed_is_unknown() -> None:
    found = across_seeds([Bracket(3, 20), Bracket(3, math.inf)])
    assert (found.low, found.high, found.value) == (3, math.inf, 3)
    assert across_seeds([Bracket(0, 1), Bracket(2, 5)]).low == 0
    assert math.isnan(across_seeds([Bracket(0, math.inf)]).value)


def test_one_seed_has_no_interval() -> None:
    found = across_seeds([Bracket(3, 20)])
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert Beyond(3, null=1).verdict(found) == "inconclusive"


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (3, 20, "supported"), (2.99, 20, "weaker"), (1, 20, "weaker"), (0.99, 20, "inconclusive"),
        (0.2, 1, "contradicted"), (0, math.inf, "inconclusive"), (10, math.inf, "supported"),
    ],
)  # fmt: skip
def test_a_ratio_lies_strictly_inside_its_interval(low: float, high: float, verdict: str) -> None:
    rule = Beyond(3, null=1)
    assert rule.verdict(Interval(math.nan, low, high, 3)) == verdict
    assert "above 3×" in rule.sentence("ratio")
