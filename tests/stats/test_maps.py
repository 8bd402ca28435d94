"""The verdict over a map: shares of cells, seed by seed, against thresholds."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from bnrepro.stats import (
    BOTH,
    NEITHER,
    ONLY_BASELINE,
    ONLY_TREATMENT,
    Above,
    Below,
    Interval,
    OnMap,
    Share,
    Shares,
    Thresholds,
    maps,
    share_estimates,
)
from bnrepro.stats.shares import together

ASKED = Thresholds(majority=0.5, minority=0.2, both=0.1, least=10)
RATIO = OnMap(Below(0.5, null=1.0), "ratio", ASKED)
GAIN = OnMap(Above(0.0), "difference", ASKED)


def cells(values: list[list[float]]) -> pd.DataFrame:
    """Cells (rows) × seeds."""
    index = pd.MultiIndex.from_tuples([(0.1, float(rate)) for rate in range(len(values))], names=["scale", "rate"])
    return pd.DataFrame(values, index=index)


def of_kinds(beyond: int, claimed: int, other: int, neither: int = 0, seeds: int = 3) -> pd.DataFrame:
    """Ratios: so many cells beyond 1/2, so many between that and 1, above 1, and exactly 1; alike in all seeds."""
    values = [0.4] * beyond + [0.8] * claimed + [2.0] * other + [1.0] * neither
    return cells([[value] * seeds for value in values])


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((20, 0, 0), "supported"),
        ((11, 5, 4), "supported"),  # 55% beyond, 20% on the other side: as many as exceptions may be
        ((11, 4, 5), "depends"),  # 25% on the other side
        ((10, 10, 0), "weaker"),  # half is not more than half
        ((0, 11, 4, 5), "weaker"),
        ((0, 4, 16), "contradicted"),
        ((0, 5, 15), "depends"),
        ((0, 0, 20), "contradicted"),
        ((0, 2, 2, 16), "depends"),  # a tenth on either side
        ((0, 1, 2, 17), "inconclusive"),
        ((0, 0, 0, 20), "inconclusive"),
        ((9, 0, 0), "inconclusive"),  # too few cells
        ((10, 0, 0), "supported"),
    ],
)
def test_the_shares_decide(counts: tuple[int, ...], expected: str) -> None:
    assert RATIO.verdict(RATIO.shares(of_kinds(*counts))) == expected


def test_the_seeds_are_the_replicates() -> None:
    """Shares of 0.9, 0.6 and 0.6 have the mean 0.7, and an interval from 0.27 on: not surely more than half."""
    frame = cells([[0.4 if place < round(10 * share) else 1.0 for share in (0.9, 0.6, 0.6)] for place in range(10)])
    found = RATIO.shares(frame)
    assert found.beyond.hits == (9, 6, 6)
    assert found.beyond.interval.value == pytest.approx(0.7)
    half = 4.302653 * np.std([0.9, 0.6, 0.6], ddof=1) / math.sqrt(3)
    assert found.beyond.interval.low == pytest.approx(0.7 - half)
    assert found.beyond.interval.high == 1.0  # 1.13, which no share is
    assert RATIO.verdict(found) == "inconclusive"


def test_what_does_not_apply_is_in_no_denominator() -> None:
    frame = of_kinds(10, 0, 0)
    frame.iloc[0, 1] = np.nan
    found = RATIO.shares(frame)
    assert found.beyond.of == (10, 9, 10)
    assert found.beyond.hits == (10, 9, 10)
    assert found.places == 9  # the seed with the fewest decides
    assert RATIO.verdict(found) == "inconclusive"


def test_cases_of_one_cell_are_one_place() -> None:
    frame = pd.concat({name: of_kinds(5, 0, 0) for name in ("1.0", "0.1", "0.01")}, names=["axis"])
    frame = frame.reorder_levels(["scale", "rate", "axis"])
    found = RATIO.shares(frame)
    assert found.beyond.of == (15, 15, 15)
    assert found.places == 5


def test_an_effect_read_off_a_grid_counts_only_where_all_of_it_lies() -> None:
    low = cells([[0.2, 0.2], [0.2, 0.2], [0.6, 0.6], [0.9, 0.9], [1.0, 1.0], [1.5, 1.5]])
    high = cells([[0.4, 0.4], [0.7, 0.7], [1.0, 1.0], [1.1, 1.1], [1.4, 1.4], [np.inf, np.inf]])
    found = RATIO.shares(low, high)
    assert found.beyond.hits == (1, 1)  # up to 0.7 is not surely below a half
    assert found.claimed.hits == (3, 3)  # less than 1, which an open interval does not reach
    assert found.other.hits == (2, 2)
    limits = OnMap(Above(3.0, null=1.0), "ratio", ASKED)
    assert limits.shares(cells([[0.3 / 0.1]]), cells([[9.0]])).beyond.hits == (1,)  # 2.9999999999999996


def test_with_a_margin_of_zero_a_tie_is_on_no_side() -> None:
    found = GAIN.shares(cells([[0.01], [0.0], [-0.01]]))
    assert (found.beyond.hits, found.claimed.hits, found.other.hits) == ((1,), (1,), (1,))


def test_one_seed_decides_nothing_and_agreement_is_a_count() -> None:
    alone = RATIO.shares(of_kinds(20, 0, 0, seeds=1))
    assert RATIO.verdict(alone) == "inconclusive"
    assert alone.beyond.said("cells") == "20 of 20 cells in the one seed"
    agreed = RATIO.shares(of_kinds(15, 5, 0))
    assert math.isnan(agreed.beyond.interval.low)  # no interval of width 0 passes for certainty
    assert agreed.beyond.said("cells") == "15 of 20 cells in each of 3 seeds"
    [first, second, third] = share_estimates(RATIO, agreed, "batch")
    assert first.said == "of 20 cells: 15 at 0.5× or below, 20 below 1×, 0 above 1×, in each of 3 seeds"
    assert (first.primary, second.primary, third.primary) == (True, False, False)
    assert first.interval.value == 0.75
    differ = Share((3, 4), (4, 4))
    assert differ.said("cells") == "88% of cells (0% to 100%)"
    assert Share((4, 5), (4, 5)).said("cells") == "100% of the 4 to 5 cells in each of 2 seeds"


def test_nothing_applies_nothing_is_decided() -> None:
    found = RATIO.shares(cells([]).reindex(columns=[0, 1]))
    assert RATIO.verdict(found) == "inconclusive"
    assert found.beyond.said("cells") == "no cells"
    assert math.isnan(found.beyond.interval.value)


def test_the_sentence_states_every_threshold() -> None:
    said = RATIO.sentence("share")
    for part in ("more than 50%", "at most 20%", "at least 10%", "fewer than 10 cells", "0.5×", "weaker"):
        assert part in said
    assert "weaker" not in GAIN.sentence("share")
    assert RATIO.margin == 0.5


def test_classes_ask_for_every_seed() -> None:
    plain = cells([[1, 1], [1, 0], [1, 1], [0, 0]]).astype(bool)
    treated = cells([[1, 1], [1, 1], [0, 1], [0, 1]]).astype(bool)
    assert list(maps.classes(plain, treated)) == [BOTH, ONLY_TREATMENT, ONLY_BASELINE, NEITHER]


def test_a_map_is_not_judged_on_an_interval() -> None:
    with pytest.raises(AssertionError):
        RATIO.verdict(Interval(0.4, 0.3, 0.5, 5))
    with pytest.raises(AssertionError):
        Below(0.5).verdict(Shares(*[Share((1,), (1,))] * 3, places=1))


def test_shares_that_vary_are_said_with_the_number_of_units_and_their_sides() -> None:
    varying = Share((9, 10, 11), (20, 20, 20))
    constant, none = Share((6, 6, 6), (20, 20, 20)), Share((0, 0, 0), (20, 20, 20))
    shown = [(varying, "at 0.5× or below"), (constant, "below 1×"), (none, "above 1×")]
    said = together("cells", shown)
    assert said == "of 20 cells: 50% (38% to 62%) at 0.5× or below, 30% in every seed below 1×, none above 1×"
    assert together("scales", [(Share((4, 5), (4, 5)), "above 1×")]) == "of 4 to 5 scales: all above 1×"
