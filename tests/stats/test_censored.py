"""Quantities that a grid bounds, and p-values adjusted for their number."""

from __future__ import annotations

import math

import pytest
from scipy import stats as scipy_stats

from bnrepro.stats import (
    Above,
    Interval,
    amount,
    censored,
    holm,
    p_value,
    paired_difference,
    paired_ratio,
    sampling_error,
)

GRID = [0.1, 0.3, 1.0, 3.0]


def test_a_limit_lies_between_the_last_that_passes_and_the_next() -> None:
    assert censored.largest_passing(GRID, [True, True, False, False]) == (0.3, 1.0)
    assert censored.largest_passing(GRID, [True, False, True, False]) == (1.0, 3.0)
    assert censored.largest_passing(GRID, [True] * 4) == (3.0, math.inf)
    assert censored.largest_passing(GRID, [False] * 4) is None


def test_bounds_of_a_ratio_and_of_a_difference() -> None:
    assert censored.ratio_bounds((3.0, 10.0), (0.3, 1.0)) == (3.0, pytest.approx(33.3, rel=1e-2))
    assert censored.ratio_bounds((3.0, math.inf), (0.3, 1.0)) == (3.0, math.inf)
    assert censored.ratio_bounds((3.0, 10.0), (3.0, math.inf)) == (0.0, pytest.approx(10 / 3))
    assert censored.ratio_bounds((3.0, 10.0), (0.0, 0.1)) == (pytest.approx(30.0), math.inf)
    assert censored.difference_bounds((2.0, math.inf), (1.0, 2.0)) == (0.0, math.inf)


def test_a_range_that_touches_the_edge_is_a_bound() -> None:
    places = censored.decades(GRID)
    assert places == [-1.0, -0.5, 0.0, 0.5]
    assert censored.span_bounds(places, [False, True, True, False]) == (0.5, 1.5)
    assert censored.span_bounds(places, [True, True, False, False]) == (0.5, math.inf)
    assert censored.span_bounds(places, [False] * 4) is None
    assert censored.span_bounds([0.0, 1.0, 2.0, 3.0, 4.0], [False, True, False, True, False]) == (0.0, 2.0)


def test_seeds_that_agree_still_leave_the_width_of_the_grid() -> None:
    found = censored.over_seeds([1.0] * 5, [4.0] * 5, log=True)
    assert (found.low, found.value, found.high, found.n) == (1.0, pytest.approx(2.0), pytest.approx(4.0), 5)
    assert Above(3.0, null=1.0).verdict(found) == "inconclusive"
    one = censored.over_seeds([2.0], [3.0])
    assert (one.low, one.value, one.high) == (2.0, 2.5, 3.0)


def test_seeds_that_differ_widen_it() -> None:
    lows, highs = [2.0, 3.0, 4.0], [4.0, 5.0, 6.0]
    found = censored.over_seeds(lows, highs)
    assert found.low == pytest.approx(paired_difference(lows).low)
    assert found.high == pytest.approx(paired_difference(highs).high)
    assert found.low < 2.0 < 6.0 < found.high


def test_what_one_seed_does_not_bound_nothing_bounds() -> None:
    found = censored.over_seeds([3.0, 3.0], [10.0, math.inf], log=True)
    assert (found.value, found.low, found.high) == (pytest.approx(3.0), pytest.approx(3.0), math.inf)
    assert amount(found, "ratio") == "at least 3×"
    assert amount(censored.over_seeds([0.0, 0.0], [2.0, 2.0], log=True), "ratio") == "at most 2×"
    assert amount(Interval(1.0, 0.0, math.inf, 2), "ratio") == "not bounded by the grid"
    assert amount(Interval(0.5, 0.5, math.inf, 2), "number") == "at least 0.5"
    with pytest.raises(ValueError, match="at least one"):
        censored.over_seeds([], [])


def test_the_p_value_is_that_of_the_test_behind_the_interval() -> None:
    sample = [0.3, 0.1, 0.4, 0.2, -0.1]
    assert p_value(paired_difference(sample), 0.0) == pytest.approx(scipy_stats.ttest_1samp(sample, 0.0).pvalue)
    assert p_value(paired_difference(sample), 0.1) == pytest.approx(scipy_stats.ttest_1samp(sample, 0.1).pvalue)
    ratios = [0.5, 0.7, 0.6, 0.9]
    logs = [math.log(each) for each in ratios]
    found = p_value(paired_ratio(ratios, [1.0] * 4), 1.0, log=True)
    assert found == pytest.approx(scipy_stats.ttest_1samp(logs, 0.0).pvalue)


@pytest.mark.parametrize(
    "interval",
    [
        Interval(0.0, 0.0, 0.52, 5),  # Clopper and Pearson's: not symmetric
        Interval(0.5, 0.5, 0.5, 10),
        Interval(0.5, math.nan, math.nan, 1),
        Interval(3.0, 3.0, math.inf, 5),
    ],
)
def test_what_is_no_student_interval_has_no_p(interval: Interval) -> None:
    assert p_value(interval, 0.25) is None


def test_holm_is_the_textbook_s() -> None:
    """Holm 1979: the smallest p times the number of hypotheses, the next times one less, never falling, at most 1."""
    found = holm({"d": 0.005, "b": 0.03, "c": 0.04, "a": 0.01})
    assert found == {
        "d": pytest.approx(0.02),
        "b": pytest.approx(0.06),
        "c": pytest.approx(0.06),
        "a": pytest.approx(0.03),
    }
    assert list(found) == ["d", "b", "c", "a"]
    assert holm({"x": 0.7, "y": 0.8}) == {"x": 1.0, "y": 1.0}
    assert holm({}) == {}


def test_the_sampling_error_of_a_test_set() -> None:
    assert sampling_error(0.98, 10_000) == pytest.approx(0.0014)
