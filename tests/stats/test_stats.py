"""Intervals, verdicts and times to a target, against numbers worked out by other means."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from bnrepro import stats
from bnrepro.stats import Interval


def test_paired_interval_is_students() -> None:
    sample = [0.1, 0.3, 0.2, 0.6]
    found = stats.paired_difference(sample)
    half = scipy_stats.t.ppf(0.975, 3) * np.std(sample, ddof=1) / 2
    assert found.value == pytest.approx(0.3)
    assert (found.low, found.high) == pytest.approx((0.3 - half, 0.3 + half))
    assert found.n == 4


def test_paired_interval_covers_at_its_stated_rate() -> None:
    draws = np.random.default_rng(0).normal(0.5, 2.0, size=(2000, 5))
    covered = np.mean([found.low <= 0.5 <= found.high for found in map(stats.paired_difference, draws)])
    assert 0.93 < covered < 0.97


def test_one_seed_has_no_interval_and_no_verdict() -> None:
    found = stats.paired_difference([0.4])
    assert math.isnan(found.low)
    assert stats.verdict(found, zero=0, margin=0, claimed="above") == "inconclusive"


def test_equal_differences_have_an_interval_of_no_width() -> None:
    assert stats.paired_difference([0.2, 0.2, 0.2]) == Interval(0.2, 0.2, 0.2, 3)


@pytest.mark.parametrize("sample", [[], [1.0, math.nan], [math.inf]])
def test_what_has_no_mean_is_refused(sample: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        stats.paired_difference(sample)


def test_ratio_is_geometric_and_symmetric() -> None:
    found = stats.paired_ratio([2.0, 8.0], [4.0, 4.0])
    assert found.value == pytest.approx(1.0)
    turned = stats.paired_ratio([4.0, 4.0], [2.0, 8.0])
    assert turned.low == pytest.approx(1 / found.high)
    with pytest.raises(ValueError, match="positive"):
        stats.paired_ratio([0.0], [1.0])


def test_share_of_seeds_is_clopper_pearson() -> None:
    found = stats.share(5, 5)
    assert found.value == 1.0
    assert found.low == pytest.approx(0.025 ** (1 / 5))
    assert found.high == 1.0


@pytest.mark.parametrize(
    ("low", "high", "claimed", "expected"),
    [
        (0.30, 0.45, "below", "supported"),
        (0.30, 0.50, "below", "weaker"),  # touches the margin: not beyond it
        (0.45, 0.90, "below", "weaker"),
        (0.45, 1.10, "below", "inconclusive"),
        (1.10, 1.90, "below", "contradicted"),
        (0.90, 1.00, "below", "inconclusive"),
        (2.10, 3.00, "above", "supported"),
        (1.10, 3.00, "above", "weaker"),
        (0.30, 0.90, "above", "contradicted"),
    ],
)
def test_verdicts_lie_where_the_whole_interval_lies(low: float, high: float, claimed: str, expected: str) -> None:
    margin = 0.5 if claimed == "below" else 2.0
    assert stats.verdict(Interval((low + high) / 2, low, high, 5), zero=1, margin=margin, claimed=claimed) == expected


def test_an_unknown_side_is_refused() -> None:
    with pytest.raises(ValueError, match="above"):
        stats.verdict(Interval(1, 1, 1, 2), zero=0, margin=0, claimed="higher")


@pytest.fixture
def curves() -> pd.DataFrame:
    return pd.DataFrame(
        {"fast": [0.1, 0.8, 0.9, 0.9, 0.9, 0.9], "slow": [0.1, 0.2, 0.5, 0.8, 0.89, np.nan]},
        index=pd.Index([0, 10, 20, 40, 80, 160], name="step"),
    )


def test_final_is_the_mean_of_the_last_five_evaluations_that_there_were(curves: pd.DataFrame) -> None:
    assert stats.final(curves)["fast"] == pytest.approx((0.8 + 4 * 0.9) / 5)
    assert stats.final(curves)["slow"] == pytest.approx((0.1 + 0.2 + 0.5 + 0.8 + 0.89) / 5)


def test_steps_to_is_the_first_evaluation_at_or_above(curves: pd.DataFrame) -> None:
    assert stats.steps_to(curves, 0.8).to_dict() == {"fast": 10.0, "slow": 40.0}
    assert math.isnan(stats.steps_to(curves, 0.9)["slow"])
    own = stats.steps_to(curves, pd.Series({"fast": 0.9, "slow": 0.5}))
    assert own.to_dict() == {"fast": 20.0, "slow": 20.0}
    assert stats.steps_to(1 - curves, 0.5, falling=True)["slow"] == 20.0
    assert stats.steps_to(curves, 0.05)["fast"] == 1.0  # reached at the start: one step, so that ratios exist


def test_time_weighted_mean_counts_by_time_not_by_points() -> None:
    values, steps = np.array([0.0, 0.0, 0.0, 1.0]), np.array([0, 1, 2, 102])
    assert stats.time_weighted_mean(values, steps) == pytest.approx(50 / 102)
