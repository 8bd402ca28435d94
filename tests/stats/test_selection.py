"""Choices on validation: recomputed from the committed table, they are those that the configurations use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fabricated import finish, publish

from bnrepro import store, tables
from bnrepro.config.schema import Config
from bnrepro.stats import selection


def test_the_shared_and_own_rates_are_the_best_of_the_committed_grid(composed: Callable[..., list[Config]]) -> None:
    committed = tables.read_experiment("mnist_tuning", store.committed_results())
    assert committed is not None, "results/tables/mnist_tuning.csv is missing"
    shared = selection.best_cell(selection.grid_of(committed, "none"))
    own = selection.best_cell(selection.grid_of(committed, "batch"))
    for config in composed("experiment=mnist_training"):
        assert (config.model.init_scale, config.optimizer.lr) == shared
    for config in composed("experiment=mnist_training_own_rate"):
        assert (config.model.init_scale, config.optimizer.lr) == own


@pytest.mark.parametrize("arm", ["none", "batch"])
def test_no_committed_choice_lies_on_the_edge_of_the_grid(arm: str) -> None:
    committed = tables.read_experiment("mnist_tuning", store.committed_results())
    assert committed is not None
    assert not selection.on_edge(selection.grid_of(committed, arm))


def grid(rows: list[list[float]]) -> pd.DataFrame:
    return pd.DataFrame(rows, index=[0.1, 1.0, 10.0][: len(rows)], columns=[0.1, 1.0, 10.0][: len(rows[0])])


def test_the_best_cell_is_the_highest_and_of_equals_that_of_the_smaller_rate() -> None:
    assert selection.best_cell(grid([[0.1, 0.2, 0.3], [0.4, 0.9, 0.9], [0.1, 0.9, 0.1]])) == (0.1 * 10, 1.0)
    assert selection.best_cell(grid([[np.nan, 0.2], [0.1, np.nan]])) == (0.1, 1.0)
    with pytest.raises(ValueError, match="diverged"):
        selection.best_cell(grid([[np.nan]]))


def test_the_edge_is_noticed() -> None:
    assert not selection.on_edge(grid([[0.1, 0.2, 0.3], [0.4, 0.9, 0.9], [0.1, 0.2, 0.1]]))
    assert selection.on_edge(grid([[0.1, 0.2, 0.3], [0.4, 0.2, 0.9], [0.1, 0.2, 0.1]]))


def test_ratio_of_steps_cell_by_cell(composed: Callable[..., list[Config]], tmp_path: Path) -> None:
    steps = [0, 10, 20, 40, 80, 160, 320, 640]
    configs = composed(
        "experiment=mnist_tuning", "data=digits", "steps=640", "model.init_scale=0.1", "optimizer.lr=0.3,1", "seed=0"
    )
    for config in configs:
        first = {"none": 80, "batch": 20}[config.norm["name"]]
        learns = config.optimizer.lr == 1 or config.norm["name"] == "batch"
        curve = (lambda seed, step, first=first: 0.9 if step >= first else 0.1) if learns else (lambda seed, step: 0.1)
        finish(config, {"test/accuracy": curve, "validation/accuracy": curve}, steps)
    publish("mnist_tuning", tmp_path)
    found = tables.read_experiment("mnist_tuning", tmp_path)
    assert found is not None
    ratios = selection.steps_ratio(found, "batch")
    # The plain network's final value is the mean of its last five evaluations, 0.74: reached with the first 0.9.
    assert ratios.loc[0.1, 1.0] == pytest.approx(20 / 80)
    assert np.isnan(ratios.loc[0.1, 0.3])  # the plain network learns nothing there
