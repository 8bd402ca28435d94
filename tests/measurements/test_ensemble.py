"""The ensemble of §4.2.3: which networks go together, what is counted, the verdict, the table beside the paper's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch
from judging import judge
from scipy import stats as scipy_stats
from torch import Tensor, nn

from bnrepro import tables
from bnrepro.claims import ensemble as claims
from bnrepro.data import Dataset, Split
from bnrepro.errors import UserError
from bnrepro.measurements import base, ensemble
from bnrepro.measurements.base import Trained
from bnrepro.tables import Results

ARMS = list(claims.NETWORKS)


class Says(nn.Module):
    """A network that says what it was told of the image whose number it sees."""

    def __init__(self, probabilities: Tensor) -> None:
        super().__init__()
        self.scores = probabilities.log()

    def forward(self, images: Tensor) -> Tensor:
        return self.scores[images.flatten().long()]


def numbered(labels: list[int], first: int = 0) -> Split:
    return Split(torch.arange(first, first + len(labels), dtype=torch.float32).view(-1, 1, 1, 1), torch.tensor(labels))


def network(arm: str, seed: int, probabilities: list[list[float]], validation: list[int], test: list[int]) -> Trained:
    """``probabilities`` (images, classes) of the validation images and then of the test images."""
    held_out, seen = numbered(validation), numbered(test, len(validation))
    dataset = Dataset("made up", held_out, held_out, seen, len(probabilities[0]), "0" * 16)
    planned = SimpleNamespace(config=SimpleNamespace(arm=arm, seed=seed))
    return Trained(cast(Any, planned), Says(torch.tensor(probabilities, dtype=torch.float64)).eval(), dataset)


def test_probabilities_are_averaged_and_compared_with_the_best_on_validation() -> None:
    # One validation image of class 0, four test images of classes 0, 0, 1, 1.
    sure = network("a", 0, [[0.9, 0.1], [0.6, 0.4], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]], [0], [0, 0, 1, 1])
    other = network("b", 0, [[0.3, 0.7], [0.7, 0.3], [0.9, 0.1], [0.9, 0.1], [0.2, 0.8]], [0], [0, 0, 1, 1])
    frame = ensemble.measure([other, sure])
    members = frame[frame["kind"] == "member"].set_index("arm")
    # Sure is right on images 0, 2 and 3, the other on 0, 1 and 3.
    assert members["validation"].to_dict() == {"b": 0, "a": 1}
    assert members["test"].to_dict() == {"b": 0.75, "a": 0.75}
    assert (members.loc["b", "gained"], members.loc["b", "lost"]) == (1, 1)
    together = frame[frame["kind"] == "ensemble"].set_index("members")
    # The best on validation is the ensemble of one. Their means are (.65, .35), (.65, .35), (.55, .45), (.25, .75): the
    # second image is won, the third is lost.
    assert together.loc[1, ["test", "gained", "lost"]].tolist() == [0.75, 0, 0]
    assert together.loc[2, ["validation", "test", "gained", "lost"]].tolist() == [1, 0.75, 1, 1]
    counts = frame[frame["kind"] == "difference"].set_index("difference")["images"]
    assert counts.to_dict() == {-1: 1, 0: 2, 1: 1}


def test_it_is_the_arithmetic_mean_of_the_probabilities() -> None:
    # (.31, .295, .395) in the mean. Multiplied, the second class wins; each network by itself prefers another.
    one = network("a", 0, [[0.6, 0.39, 0.01]] * 2, [0], [2])
    two = network("b", 0, [[0.02, 0.2, 0.78]] * 2, [0], [2])
    frame = ensemble.measure([one, two])
    assert frame.loc[(frame["kind"] == "ensemble") & (frame["members"] == 2), "test"].item() == 1
    assert frame.loc[frame["kind"] == "difference", ["difference", "images"]].to_numpy().tolist() == [[1, 1]]


def test_the_label_counts_among_the_five_likeliest() -> None:
    likely = torch.tensor([[0.30, 0.25, 0.20, 0.15, 0.06, 0.04]]).repeat(6, 1)
    split = Split(torch.zeros(6, 1), torch.arange(6))
    assert ensemble.right(likely, split).tolist() == [True] + [False] * 5
    assert ensemble.right(likely, split, 5).tolist() == [True] * 5 + [False]
    assert ensemble.right(likely[:, :3], split, 5).tolist() == [True] * 3 + [False] * 3


def even(arm: str, seed: int) -> Trained:
    return network(arm, seed, [[0.6, 0.4]] * 3, [0], [0, 1])


def test_no_network_is_in_two_ensembles_and_seeds_are_mixed() -> None:
    frame = ensemble.measure([even(arm, seed) for arm in ARMS for seed in (4, 5, 7)])
    members = frame[frame["kind"] == "member"]
    assert members.groupby("ensemble")["arm"].agg(list).to_dict() == dict.fromkeys((4, 5, 7), ARMS)
    assert members.loc[members["ensemble"] == 5, "member_seed"].tolist() == [5, 7, 4, 5, 7, 4]
    assert not members[["arm", "member_seed"]].duplicated().any()
    assert len(members) == 18


def test_one_seed_makes_one_ensemble_and_one_network_none() -> None:
    frame = ensemble.measure([even(arm, 0) for arm in ARMS])
    assert set(frame.loc[frame["kind"] == "member", "member_seed"]) == {0}
    assert frame.loc[frame["kind"] == "ensemble", "members"].tolist() == [1, 2, 3, 4, 5, 6]
    with pytest.raises(UserError, match="two networks or more"):
        ensemble.measure([even("a", 0)])


def test_a_network_that_is_missing_is_missing_from_its_ensemble_alone() -> None:
    there = [even(arm, seed) for arm in ARMS for seed in (0, 1) if (arm, seed) != (ARMS[2], 0)]
    frame = ensemble.measure(there)
    assert claims.whole_ensembles(frame)["members"].to_dict() == {0: 5, 1: 6}
    judged = judge("ensemble", frame)
    assert any("1 of 12 networks diverged or have not been trained" in note for note in judged.notes)


def test_images_are_compared_across_ensembles_before_they_are_counted() -> None:
    """Two ensembles that win the same image differ from two that win one each."""
    sure, unsure = [0.9, 0.1], [0.45, 0.55]

    def of(seed: int, won: int) -> list[Trained]:
        best = [[0.9, 0.1], *[unsure if k == won else sure for k in range(4)]]
        helper = [[0.4, 0.6], *[sure] * 4]
        # With two seeds and two arms an ensemble's second network is the other seed's.
        return [network("a", seed, best, [0], [0] * 4), network("b", 1 - seed, helper, [0], [0] * 4)]

    for first, second, expected in ((0, 0, {0: 3, 2: 1}), (0, 3, {0: 2, 1: 2})):
        frame = ensemble.measure([*of(0, first), *of(1, second)])
        counts = frame[frame["kind"] == "difference"].set_index("difference")["images"]
        assert counts.to_dict() == expected
        assert claims.whole_ensembles(frame)["gained"].tolist() == [1, 1]


# --------------------------------------------------------------------------------------------------- the verdict


def made(counts: dict[int, int], ensembles: int = 1) -> pd.DataFrame:
    """A measurement of whole ensembles whose image by image differences are so many of each value."""
    images = sum(counts.values())
    gain = sum(value * count for value, count in counts.items()) / ensembles / images
    rows: list[dict[str, object]] = []
    for e in range(ensembles):
        shared = {"ensemble": e, "images": images}
        for place, arm in enumerate(ARMS):
            quality = {"validation": 0.7 if place == 2 else 0.6, "test": 0.5 - 0.01 * place, "top5": 0.9}
            rows.append({"kind": "member", "arm": arm, "member_seed": e, "members": 1, **shared, **quality})
        for k in range(1, 7):
            quality = {"validation": 0.7, "test": 0.48 + (gain if k == 6 else 0), "top5": 0.95}
            rows.append(
                {"kind": "ensemble", "arm": "ensemble", "members": k, "gained": 3, "lost": 1} | shared | quality
            )
    rows += [{"kind": "difference", "difference": value, "images": count} for value, count in counts.items()]
    return pd.DataFrame(rows, columns=ensemble.COLUMNS)


def test_the_interval_is_students_over_the_test_images() -> None:
    judged = judge("ensemble", made({-1: 20, 0: 900, 1: 80}))
    expected = scipy_stats.ttest_1samp(np.repeat([-1, 0, 1], [20, 900, 80]), 0).confidence_interval(0.95)
    assert judged.primary is not None
    found = judged.primary.interval
    assert found.value == pytest.approx(0.06)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    # From the counts alone: variance of a difference is (gained + lost)/n − mean².
    half = 1.96 * np.sqrt((100 / 1000 - 0.06**2) / 1000)
    assert found.high - found.value == pytest.approx(half, rel=1e-2)
    assert found.n == 1000


def test_several_ensembles_are_averaged_image_by_image() -> None:
    judged = judge("ensemble", made({-3: 10, -1: 20, 0: 900, 2: 40, 3: 30}, ensembles=3))
    per_image = np.repeat([-1, -1 / 3, 0, 2 / 3, 1], [10, 20, 900, 40, 30])
    expected = scipy_stats.ttest_1samp(per_image, 0).confidence_interval(0.95)
    assert judged.primary is not None
    assert judged.primary.interval.value == pytest.approx(per_image.mean())
    assert judged.primary.interval.low == pytest.approx(expected.low)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({-1: 20, 0: 900, 1: 80}, "supported"),
        ({-1: 50, 0: 898, 1: 52}, "inconclusive"),
        ({-1: 80, 0: 900, 1: 20}, "contradicted"),
        ({0: 1000}, "inconclusive"),
    ],
)
def test_the_sign_of_the_difference_decides(counts: dict[int, int], expected: str) -> None:
    judged = judge("ensemble", made(counts))
    assert judged.verdict == expected
    assert [estimate.primary for estimate in judged.estimates].count(True) == 1


def test_an_ensemble_that_lacks_a_network_cannot_support() -> None:
    frame = made({-1: 20, 0: 900, 1: 80})
    frame = frame[~((frame["kind"] == "ensemble") & (frame["members"] == 6))]
    judged = judge("ensemble", frame)
    assert judged.verdict == "inconclusive"
    assert any("1 of 6 networks" in note for note in judged.notes)


def test_the_best_member_is_chosen_on_validation_not_on_the_test_set() -> None:
    judged = judge("ensemble", made({-1: 20, 0: 900, 1: 80}))
    values = {(each.name, each.arm): each.interval.value for each in judged.estimates}
    # The third arm is best on validation (48% on the test set), the first on the test set (50%).
    assert values["test accuracy", "best member"] == pytest.approx(0.48)
    assert values["test accuracy", "ensemble"] == pytest.approx(0.54)
    against = "difference to the member that is best on the test set itself"
    assert values[against, "ensemble"] == pytest.approx(0.04)
    assert any("best on validation: 10% dropout" in note for note in judged.notes)


# ------------------------------------------------------------------------------------------------ beside the paper


def test_what_a_measurement_needs_is_known_by_name() -> None:
    assert base.needs("ensemble") == "ensemble_members"
    assert base.needs("population_statistics") == "mnist_training"
    assert base.needs("scale_invariance") is None


def test_the_section_prints_our_errors_beside_the_papers(tmp_path: Path) -> None:
    frame = made({-1: 20, 0: 900, 1: 80})
    meta = pd.Series({"data": "made up"})
    results = SimpleNamespace(measured=lambda name: tables.Measured(name, frame, meta))
    lines = claims.section(cast(Results, results)).splitlines()
    rows = [line for line in lines if line.startswith("| BN-Inception")]
    assert rows == [
        "| BN-Inception single crop | 1 | 1 | 52.00% | 10.00% | 1 | 1 | 25.2% | 7.82% |",
        "| BN-Inception multicrop | – | – | – | – | 144 | 1 | 21.99% | 5.82% |",
        "| BN-Inception ensemble | 1 | 6 | 46.00% | 5.00% | 144 | 6 | 20.1% | 4.9% |",
    ]
    assert "made up" in "\n".join(lines)


def test_nothing_measured_is_not_run_and_not_drawn(tmp_path: Path) -> None:
    assert claims.DECLARED.claims[0].judge(Results(tmp_path)).verdict == "not run"
    assert claims.DECLARED.figures(Results(tmp_path)) == {}


def test_accuracies_are_those_that_training_reported(finished: Callable[..., Any]) -> None:
    planned = [finished(f"norm={norm}", "keep_weights=true", "steps=60") for norm in ("none", "batch")]
    frame = ensemble.measure([base.load(item) for item in planned])
    members = frame[frame["kind"] == "member"].set_index("arm")
    for item in planned:
        for split, column in (("validation", "validation"), ("test", "test")):
            last = item.folder.read()[1]["metrics.csv"].decode().split(f"{split},accuracy,")[-1].split()[0]
            assert members.loc[item.config.norm["name"], column] == pytest.approx(float(last), abs=1e-6)
