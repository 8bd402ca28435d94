"""The profile ``exam``: what the comparison of normalisers trains."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from bnrepro.claims.comparison import EXPERIMENTS
from bnrepro.claims.comparison.rows import SEEDS
from bnrepro.config.identity import arm_label, run_key
from bnrepro.config.schema import Config

Composed = Callable[..., list[Config]]


@pytest.mark.parametrize(
    ("experiment", "runs", "steps"),
    [
        ("operating_points", 180, 5000),
        ("mnist_training", 6, 10_000),
        ("stability_limit", 540, 2000),
        ("inception_training", 21, 11_250),
        ("inception_normalisers", 3, 11_250),
    ],
)
def test_every_experiment_has_it(composed: Composed, experiment: str, runs: int, steps: int) -> None:
    assert experiment in EXPERIMENTS
    found = composed(f"experiment={experiment}", "profile=exam")
    assert len({run_key(run, "") for run in found}) == runs
    assert {run.steps for run in found} == {steps}
    assert {run.seed for run in found} == {0, 1, 2}
    assert SEEDS == "seed=range(3)"


def test_its_map_lies_around_the_plain_networks_best_cell_in_half_decades(composed: Composed) -> None:
    found = composed("experiment=operating_points", "profile=exam")
    scales, rates = ({run.model.init_scale for run in found}, {run.optimizer.lr for run in found})
    full = composed("experiment=operating_points")
    assert scales < {run.model.init_scale for run in full}
    assert rates < {run.optimizer.lr for run in full}
    assert (len(scales), len(rates)) == (6, 5)
    for before, after in [*pairwise(sorted(scales)), *pairwise(sorted(rates))]:
        assert 3 <= round(after / before, 6) <= 3.4
    assert sorted(rates)[2] == 1.0
    assert 0.1 in sorted(scales)[2:4]


def test_bn_x5_with_another_normaliser_differs_in_nothing_else(composed: Composed) -> None:
    """With Batch Normalization in its place it is the same run, so that this one need not be trained."""
    [own] = composed("experiment=inception_training", "profile=exam", "arm=bn_x5", "seed=1")
    [same] = composed("experiment=inception_normalisers", "profile=exam", "norm=batch", "seed=1")
    assert run_key(own, "") == run_key(same, "")
    [full] = composed("experiment=inception_training", "arm=bn_x5", "seed=1")
    assert run_key(full, "") == run_key(own, "")
    assert {arm_label(run) for run in composed("experiment=inception_normalisers", "norm=layer,rms")} == {
        "layer",
        "rms",
    }
