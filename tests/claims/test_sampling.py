"""What is said of the test set's own error, beside small differences of accuracy."""

from __future__ import annotations

import mapped
import pytest

from bnrepro.claims import sampling
from bnrepro.data import sources
from bnrepro.stats import Interval

TABLES = mapped.tables(lambda *run: mapped.flat(0.98), scales=(0.1,), rates=(1.0,), steps=(0, 10))


def test_a_small_difference_is_told_with_the_error_of_the_test_set() -> None:
    [said] = sampling.notes(TABLES, Interval(0.003, 0.002, 0.004, 10), 0.98)
    assert "an accuracy of 98.0% on 10,000 images the binomial standard error is 0.14 points, 1.4 times half" in said
    part = TABLES.runs.assign(**{sampling.ON_A_PART: 2000})
    [said] = sampling.notes(
        type(TABLES)("x", TABLES.metrics, part, TABLES.timing), Interval(0.003, 0.002, 0.004, 10), 0.98
    )
    assert "on 2,000 images the binomial standard error is 0.31 points" in said


@pytest.mark.parametrize(
    "interval", [Interval(0.006, 0.005, 0.007, 10), Interval(0.001, float("nan"), float("nan"), 1)]
)
def test_a_large_difference_and_one_seed_are_not(interval: Interval) -> None:
    assert sampling.notes(TABLES, interval, 0.98) == []


def test_data_of_one_s_own_have_no_known_test_set() -> None:
    own = TABLES.runs.assign(**{"data.name": "image_folder"})
    found = type(TABLES)("x", TABLES.metrics, own, TABLES.timing)
    assert sampling.notes(found, Interval(0.003, 0.002, 0.004, 10), 0.98) == []


def test_the_digits_have_as_many_test_images_as_is_said() -> None:
    assert len(sources.digits().test_labels) == sampling.TEST_IMAGES["digits"]
