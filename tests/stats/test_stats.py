"""Intervals, rules and times to a target, against numbers worked out by other means."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from bnrepro import stats
from bnrepro.stats import Above, Around, Below, Interval, Measured, Rule, Within


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
    assert [rule.verdict(found) for rule in (Above(0.0), Below(0.0), Around(0.4, 1.0))] == ["inconclusive"] * 3


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


# ------------------------------------------------------------------------------------------------------ rules


def spread(low: float, high: float) -> Interval:
    """An interval of five seeds around the middle of ``low`` and ``high``."""
    return Interval((low + high) / 2, low, high, 5)


BELOW, ABOVE, AROUND, DROP = Below(0.5, null=1.0), Above(2.0, null=1.0), Around(2.0, 0.5), Around(-0.5, 0.1)


@pytest.mark.parametrize(
    ("rule", "low", "high", "expected"),
    [
        (BELOW, 0.30, 0.45, "supported"),
        (BELOW, 0.30, 0.50, "weaker"),  # touches the margin: not beyond it
        (BELOW, 0.45, 0.90, "weaker"),
        (BELOW, 0.45, 1.10, "inconclusive"),
        (BELOW, 1.10, 1.90, "contradicted"),
        (BELOW, 0.90, 1.00, "inconclusive"),
        (ABOVE, 2.10, 3.00, "supported"),
        (ABOVE, 1.10, 3.00, "weaker"),
        (ABOVE, 0.30, 0.90, "contradicted"),
        # Without a null of its own a rule has no room for "weaker".
        (Above(0.0), 0.1, 0.2, "supported"),
        (Above(0.0), -0.1, 0.2, "inconclusive"),
        (Above(0.0), -0.2, -0.1, "contradicted"),
        (Below(0.0), -0.2, -0.1, "supported"),
        (Below(0.0), 0.0, 0.1, "inconclusive"),
        (AROUND, 1.5, 2.5, "supported"),  # the margin itself is within
        (AROUND, 1.4, 2.5, "weaker"),
        (AROUND, 3.0, 4.0, "weaker"),
        (AROUND, 0.0, 2.0, "inconclusive"),
        (AROUND, -2.0, -1.5, "contradicted"),
        (DROP, -0.55, -0.45, "supported"),
        (DROP, -1.10, -0.90, "weaker"),
        (DROP, -0.10, 0.10, "inconclusive"),
        (DROP, 0.10, 0.20, "contradicted"),
    ],
)
def test_verdicts_lie_where_the_whole_interval_lies(rule: Rule, low: float, high: float, expected: str) -> None:
    assert rule.verdict(spread(low, high)) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [(0.0, "supported"), (0.1, "supported"), (0.11, "contradicted"), (math.inf, "contradicted")],
)
def test_an_exact_claim_stands_or_falls_with_its_tolerance(error: float, expected: str) -> None:
    assert Within(0.1).verdict(stats.exact(error)) == expected


def test_nan_is_within_no_tolerance() -> None:
    assert Within(math.inf).verdict(stats.exact(math.nan)) == "contradicted"


SATISFIED = [
    (BELOW, spread(0.3, 0.4)),
    (ABOVE, spread(3, 4)),
    (AROUND, spread(1.9, 2.1)),
    (Within(1.0), stats.exact(0)),
]
"""Each kind of rule with an interval that supports the claim."""


@pytest.mark.parametrize(("rule", "interval"), SATISFIED)
def test_with_a_lost_run_nothing_is_supported(rule: Rule, interval: Interval) -> None:
    assert rule.verdict(interval) == "supported"
    assert rule.verdict(interval, lost=1) == "inconclusive"


@pytest.mark.parametrize(
    ("rule", "interval", "expected"),
    [
        (BELOW, spread(0.6, 0.9), "weaker"), (BELOW, spread(1.1, 1.9), "contradicted"),
        (AROUND, spread(3, 4), "weaker"), (AROUND, spread(-2, -1), "contradicted"),
        (Within(1.0), stats.exact(2), "contradicted"),
    ],
)  # fmt: skip
def test_a_lost_run_changes_no_other_verdict(rule: Rule, interval: Interval, expected: str) -> None:
    assert rule.verdict(interval, lost=1) == rule.verdict(interval) == expected


@pytest.mark.parametrize(("rule", "interval"), SATISFIED)
def test_a_condition_that_fails_contradicts_and_one_that_is_open_decides_nothing(
    rule: Rule, interval: Interval
) -> None:
    assert rule.verdict(interval, condition=True) == "supported"
    assert rule.verdict(interval, condition=False) == "contradicted"
    assert rule.verdict(interval, condition=None) == "inconclusive"
    assert rule.verdict(interval, lost=1, condition=False) == "contradicted"


def test_what_is_only_measured_has_no_verdict() -> None:
    assert Measured().verdict(spread(1, 2)) == Measured().verdict(spread(-1, 1), lost=1, condition=False) == "measured"
    assert Measured().margin is None


@pytest.mark.parametrize(
    ("rule", "unit", "sentence"),
    [
        (
            ABOVE, "ratio",
            "supported if the whole interval lies above 2×, weaker if above 1×, contradicted if below 1×",
        ),
        (
            Below(-0.1, null=0.0), "difference",
            "supported if the whole interval lies below -10 points, weaker if below 0, contradicted if above 0",
        ),
        (Above(0.0), "difference", "supported if the whole interval lies above 0, contradicted if it lies below"),
        (Below(0.25), "share", "supported if the whole interval lies below 25%, contradicted if it lies above"),
        (
            DROP, "number",
            "supported if the whole interval lies within 0.1 of -0.5, weaker if below 0, contradicted if above 0",
        ),
        (
            AROUND, "number",
            "supported if the whole interval lies within 0.5 of 2, weaker if above 0, contradicted if below 0",
        ),
        (Within(1e-6), "number", "supported if at most 1e-06, else contradicted"),
        (Within(0.0), "number", "supported if exactly 0, else contradicted"),
        (
            Within(1.0, and_also="the check passes"), "number",
            "supported if at most 1 and the check passes, else contradicted",
        ),
        (Measured(), "ratio", "measured, no margin is claimed"),
    ],
)  # fmt: skip
def test_the_sentence_says_the_numbers_of_the_rule(rule: Rule, unit: str, sentence: str) -> None:
    assert rule.sentence(unit) == sentence


def test_only_identities_are_exact() -> None:
    assert Within(0.0).exact
    assert not any(rule.exact for rule in (ABOVE, BELOW, AROUND, Measured()))


# ----------------------------------------------------------------------------------------------------- curves


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


def test_drift_by_hand() -> None:
    """Two units: one moves by 1 for half of the time, one is where it ends throughout."""
    steps = np.array([0, 1, 50, 51, 100])
    ends = np.array([[-1.0, 0.0, 3.0], [0.0, 1.0, 2.0]])
    percentiles = np.stack([ends + np.array([[shift], [0.0]]) for shift in (9.0, 1.0, 1.0, 0.0, 0.0)])
    found = stats.drift(percentiles, steps)
    assert found is not None
    assert found == pytest.approx([(49 + 0.5) / 99 / 4, 0.0])
    # Within the first half it does not move after its first percent.
    assert stats.drift(percentiles, steps, 0.5) == pytest.approx([0.0, 0.0])


def test_a_unit_without_a_width_has_an_infinite_drift_unless_it_rests() -> None:
    steps = np.array([0, 50, 100])
    percentiles = np.zeros((3, 2, 3))
    percentiles[1, 0] = 1e-9
    found = stats.drift(percentiles, steps)
    assert found is not None
    assert found.tolist() == [math.inf, 0.0]


@pytest.mark.parametrize(("until", "short"), [(1.0, False), (0.5, False), (0.1, True), (0.02, True)])
def test_a_part_with_one_point_has_no_drift(until: float, short: bool) -> None:
    found = stats.drift(np.ones((4, 5, 3)), np.array([0, 25, 50, 100]), until)
    assert (found is None) == short
