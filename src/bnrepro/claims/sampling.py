"""What an interval over seeds leaves out: all seeds are tested on the same images."""

from __future__ import annotations

import math

from bnrepro.stats import Interval, sampling_error
from bnrepro.tables import Tables

SMALL = 0.005
"""Differences of accuracy below this are told with the error of the test set."""
TEST_IMAGES = {"mnist": 10_000, "cifar10": 10_000, "digits": 360}
"""By ``data.name``."""
ON_A_PART = "evaluation.test_examples"


def notes(tables: Tables, difference: Interval, accuracy: float) -> list[str]:
    """A sentence on the test set's own error, if ``difference`` is below half a point and the test set is known.

    ``accuracy`` is the level at which the arms differ.
    """
    images = _images(tables)
    half = (difference.high - difference.low) / 2
    if abs(difference.value) >= SMALL or images is None or not math.isfinite(half) or half <= 0:
        return []
    error = sampling_error(accuracy, images)
    return [
        f"The interval covers the seeds, not the choice of test images, which all seeds share: of an accuracy of "
        f"{100 * accuracy:.1f}% on {images:,} images the binomial standard error is {100 * error:.2f} points, "
        f"{error / half:.2g} times half of the interval's width. Both arms see the same images, so that the error of "
        "their difference is smaller than that of two accuracies"
    ]


def _images(tables: Tables) -> int | None:
    """How many test images each evaluation uses; None if the runs do not agree, or the data are a user's own."""
    runs = tables.runs
    parts = set(runs[ON_A_PART]) if ON_A_PART in runs else {0}
    names = set(runs["data.name"]) if "data.name" in runs else set()
    if len(parts) != 1 or len(names) != 1:
        return None
    return int(parts.pop()) or TEST_IMAGES.get(str(names.pop()))
