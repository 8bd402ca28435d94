"""Arms that no claim judges: shown, and said, in experiments of this repository."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
from fabricated import finish, publish

from bnrepro.claims import EXPERIMENTS, beyond, inception_training, remarks
from bnrepro.config.schema import Config
from bnrepro.report import drawing, markdown
from bnrepro.store import committed_results
from bnrepro.tables import Results

STEPS = [0, 10, 20, 40]
CURVES = {"train/loss": lambda seed, step: 2 / (1 + step)} | {
    f"{split}/accuracy": lambda seed, step: 0.1 + step / 100 for split in ("train", "validation", "test")
}
Composed = Callable[..., list[Config]]


def made(composed: Composed, folder: Path, experiment: str, name: str, *overrides: str) -> Results:
    """Results of an experiment in which the last of the runs, copied, is an arm called ``name``."""
    configs = composed(f"experiment={experiment}", "data=digits", "steps=40", *overrides)
    added = copy.deepcopy(configs[-1])
    added.arm, added.optimizer.lr = name, 0.123
    for config in (*configs, added):
        finish(config, CURVES, STEPS)
    publish(experiment, folder)
    return Results(folder)


def test_an_own_arm_is_in_figure_2_and_in_the_table_of_figure_3(composed: Composed, tmp_path: Path) -> None:
    small = ("data.enlarge=32", "data.validation_examples=300")
    results = made(composed, tmp_path, "inception_training", "mine", "arm=inception,bn_x5", "seed=0,1", *small)
    [figure] = inception_training.figures(results).values()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Inception", "BN-x5", "mine"]
    assert "| mine | 0.123 | 40 (1 of 1) | 50.00% | 1 (0) | – | – | – |" in inception_training.section(results)
    assert remarks(results) == [
        "no claim of inception_training judges the arm mine: a claim names the arms that it compares"
    ]
    report = markdown.as_markdown(markdown.judge(results))
    assert "## Beyond the claims of inception_training: mine" in report
    assert "Its figures show every arm." in report
    assert set(beyond.figures(results, EXPERIMENTS["inception_training"])) == {"inception_training_accuracy"}


def test_an_own_arm_that_the_figures_lack_gets_one_with_all(
    composed: Composed, tmp_path: Path, one_format: None
) -> None:
    results = made(composed, tmp_path, "mnist_training", "mine", "norm=none,batch", "seed=0,1")
    drawing.draw(results)
    drawn = (tmp_path / "figures" / "mnist_training_curves.svg").read_text()
    assert all(f"<!-- {label} -->" in drawn for label in ("Without BN", "With BN", "mine"))
    report = markdown.as_markdown(markdown.judge(results))
    assert "No claim of mnist_training judges the arm mine" in report
    assert "](figures/mnist_training_curves.png)" in report


@pytest.mark.parametrize("name", ["learning_rate", "init_scale", "dropout", "batch_size"])
def test_the_figures_of_a_sweep_show_whatever_arms_it_has(name: str, composed: Composed, tmp_path: Path) -> None:
    results = made(composed, tmp_path, name, "mine", "profile=smoke", "data.train_examples=100")
    assert EXPERIMENTS[name].draws_all
    for figure in beyond.figures(results, EXPERIMENTS[name]).values():
        assert "mine" in {label for axes in figure.axes for label in axes.get_legend_handles_labels()[1]}


def test_the_committed_results_have_nothing_beyond_their_claims() -> None:
    assert remarks(Results(committed_results())) == []


def test_settings_tell_apart_what_an_experiment_varies(composed: Composed, tmp_path: Path) -> None:
    for config in composed("experiment=dropout", "data=digits", "data.train_examples=100", "steps=40", "seed=0,1",
                           "model.dropout=0,0.5", "optimizer.lr=1"):  # fmt: skip
        finish(config, CURVES, STEPS)
    publish("dropout", tmp_path)
    tables = Results(tmp_path).tables("dropout")
    assert tables is not None
    found = {setting.label: len(setting.runs) for setting in beyond.settings(tables)}
    names = [f"{arm}, dropout {rate}" for arm in ("With BN", "Without BN") for rate in ("0.0", "0.5")]
    assert found == dict.fromkeys(names, 2)
