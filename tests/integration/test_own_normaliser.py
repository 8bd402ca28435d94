"""A user's own normaliser: a YAML file and a class in a folder of theirs, and no line of this repository touched."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import processes
import pytest
from rich.console import Console

from bnrepro import store
from bnrepro.config.checks import declares
from bnrepro.config.compose import Composer
from bnrepro.errors import ConfigError
from bnrepro.pipeline.compare import ALL, Comparison, compare
from bnrepro.pipeline.compare import planned as plan_comparison
from bnrepro.pipeline.reproduce import Request, reproduce
from bnrepro.report import comparison
from bnrepro.runs import run

MODULE = """
import torch

class Centred(torch.nn.Module):
    def __init__(self, num_features, gain):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.full((num_features,), gain))

    def forward(self, x):
        return self.gain * (x - x.mean(0, keepdim=True))
"""
SMALL = ("data=digits", "wandb=disabled", "model.hidden=[12,8]", "steps=30")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my" / "norm").mkdir(parents=True)
    (tmp_path / "my" / "norm" / "centred.yaml").write_text("name: centred\n_target_: centred_norm.Centred\ngain: 2.0\n")
    (tmp_path / "my" / "centred_norm.py").write_text(MODULE)
    yield tmp_path / "my"
    sys.modules.pop("centred_norm", None)


def test_a_sweep_from_the_command_line(folder: Path, outputs: Path) -> None:
    """Its worker is an interpreter of its own, which has to find the class as well."""
    sweep = (*SMALL, "hydra.launcher.n_jobs=1", "norm=none,centred", "placement=before,after")
    call = processes.call(folder.parent, "train", "--config-dir", str(folder), "-m", *sweep)
    assert call.code == 0, call.err
    metas = [json.loads(path.read_text()) for path in outputs.glob("runs/single/*/meta.json")]
    assert sorted(meta["arm"] for meta in metas) == ["centred", "centred-after", "none"]
    [one] = [meta for meta in metas if meta["arm"] == "centred"]
    assert one["config"]["norm"] == {"name": "centred", "_target_": "centred_norm.Centred", "gain": 2.0}


def test_every_claim_about_training_is_asked_of_it(folder: Path, one_format: None) -> None:
    console = Console(file=io.StringIO(), width=200)
    request = Request(
        "smoke", "centred", ("mnist_training", "dropout"), (*SMALL, "data.train_examples=500"), str(folder), jobs=1
    )
    results = reproduce(request, console)
    assert "centred" in results.name
    judged = json.loads((results / "claims.json").read_text())
    assert judged["regularizes"]["n"] == 2
    arms = {estimate["arm"] for estimate in judged["regularizes"]["estimates"]}
    assert {"centred"} <= arms <= {"none", "centred"}  # one without a gain of its own has no estimate
    asked = (
        "gain in final test accuracy by the best dropout on validation, without centred minus with, mean of the sizes "
        "of the training set"
    )
    assert judged["regularizes"]["metric"] == asked
    report = (results / "REPORT.md").read_text()
    assert "**Dropout helps less in a network with centred.**" in report
    assert "**All claims by verdict, asked of centred**" in report
    of_the_paper = (
        "The paper: ",
        "- **",
        "- posed anew",
        "| §",
        "- [",
        "## Normalisers compared",
        "The claims that can be",
        "| claim | BN | centred |",  # side by side
    )
    told = [line for line in report.splitlines() if not line.startswith(of_the_paper)]
    assert not [line for line in told if re.search(r"Batch Normalization|\bBN\b", line)]
    legend = (results / "figures" / "mnist_training_accuracy.svg").read_text()  # which keeps each text as a comment
    assert "<!-- With centred -->" in legend
    assert "<!-- Without normalisation -->" in legend


def test_it_stands_in_the_comparison_beside_batch_normalization(folder: Path, outputs: Path, one_format: None) -> None:
    """One YAML and one class give a column; without them the runs of the others are trained once for all columns."""
    console = Console(file=io.StringIO(), width=200)
    overrides = ("wandb=disabled", "steps=4", "seed=0")
    asked = Comparison(("centred",), "smoke", overrides, str(folder), jobs=1)
    into = compare(asked, console)
    assert into.parent == outputs
    frame = comparison.read(into)
    assert frame is not None
    mine = frame[(frame["normaliser"] == "centred") & (frame["where"] == "both tuned")].set_index("claim")
    assert mine.loc["higher_accuracy", "verdict"] != "not run"
    assert {"Inception", "a step, MLP", "a step, Inception"} <= set(frame.loc[frame["verdict"] != "not run", "where"])
    assert set(frame["profile"][frame["normaliser"] == "centred"]) == {"smoke"}
    arms = [json.loads(path.read_text())["arm"] for path in outputs.glob("runs/operating_points/*/meta.json")]
    assert arms.count("none") == arms.count("batch") == arms.count("centred") == 4
    assert not list(outputs.glob("runs/inception_normalisers/batch*"))
    text = (into / "COMPARISON.md").read_text()
    assert "| BN | centred |" in text  # no committed column beside runs of other settings
    assert (into / "figures" / "comparison.svg").exists()
    said = io.StringIO()
    compare(replace(asked, train=False), Console(file=said, width=200))
    assert "runs: 0 are not there" in said.getvalue()


def test_a_normaliser_of_images_alone_is_asked_of_images_alone(outputs: Path) -> None:
    console = Console(file=io.StringIO(), width=200)
    with Composer() as composer:
        asked = Comparison(("instance",), "smoke", ("wandb=disabled", "steps=4", "seed=0"))
        found = plan_comparison(asked, composer, console)
    assert set(found.reasons) == {"instance"}
    assert set(found.reasons["instance"]) == {"operating_points", "mnist_training", "stability_limit"}
    assert "cannot process" in found.reasons["instance"]["operating_points"]
    assert {item.config.norm["name"] for item in found.runs["operating_points"]} == {"none", "batch"}
    assert [item.config.norm["name"] for item in found.runs["inception_normalisers"]] == ["instance"]
    assert {item.config.arm for item in found.runs["inception_training"]} == {"inception", "bn_x5"}


def test_one_that_can_be_asked_nothing_is_refused(folder: Path, outputs: Path) -> None:
    (folder / "centred_norm.py").write_text(MODULE.replace("return self.gain", "return self.nothing"))
    with Composer(str(folder)) as composer, pytest.raises(ConfigError, match=r"norm=centred fails in training"):
        plan_comparison(Comparison(("centred",), "smoke", (), str(folder)), composer, Console(file=io.StringIO()))


def test_a_measurement_knows_the_folder_of_its_command(folder: Path) -> None:
    with Composer(str(folder)), Composer() as inner:
        [config] = inner.sweep([*SMALL, "norm=centred"], single=True)
    assert config.norm["name"] == "centred"
    with Composer() as alone, pytest.raises(ConfigError, match="centred"):
        alone.sweep([*SMALL, "norm=centred"], single=True)


def test_a_comparison_of_others_than_the_committed_one_has_a_folder_of_its_own(outputs: Path) -> None:
    committed = store.committed_results() / "comparison"
    assert Comparison().folder(on_digits=False) == committed
    assert Comparison(overrides=("wandb=disabled",)).folder(on_digits=False) == committed
    others = [Comparison().folder(on_digits=True)]
    changes: list[dict] = [{"treatments": ("layer",)}, {"profile": "quick"}, {"overrides": ("seed=0",)},
                           {"config_dir": "my", "treatments": (*ALL, "mine")}]  # fmt: skip
    others += [Comparison(**change).folder(on_digits=False) for change in changes]
    assert len({*others, committed}) == 6
    assert all(outputs in each.parents for each in others)


ARM = re.compile(r"^An arm of your own is a file my/(?P<file>\S+):$(?P<text>.*)^and is chosen by .*arm=(?P<name>\w+)$",
                 re.MULTILINE | re.DOTALL)  # fmt: skip


def test_a_named_arm_with_it_is_refused_with_the_file_that_makes_it_an_arm(folder: Path) -> None:
    with Composer(str(folder)) as composer:
        asked = ("experiment=inception_training", "data=digits", "seed=0", "norm=centred", "optimizer.lr=0.3")
        with pytest.raises(
            ConfigError, match=r"^norm=centred contradicts arm=bn_x5.*or make an arm of your own"
        ) as error:
            composer.sweep([*asked, "arm=bn_x5"])
        found = ARM.search(str(error.value))
        assert found is not None
        (folder / "arm").mkdir()
        (folder / found["file"]).write_text(found["text"])
    with Composer(str(folder)) as composer:
        [config] = composer.sweep([*asked[:3], f"arm={found['name']}"])
    assert (config.arm, config.norm["name"], config.optimizer.lr) == ("my_bn_x5", "centred", 0.3)
    assert config.optimizer.decay == declares("bn_x5")["optimizer.decay"]


EXPERIMENT = """# @package _global_
experiment: my_depth
hydra:
  sweeper:
    params:
      norm: none,${treatment}
      model.hidden: "[8],[8,8]"
      seed: range(2)
"""


def test_an_experiment_of_one_s_own_is_trained_tabulated_drawn_and_said_to_have_no_claim(
    folder: Path, one_format: None
) -> None:
    (folder / "experiment").mkdir()
    (folder / "experiment" / "my_depth.yaml").write_text(EXPERIMENT)
    console = Console(file=io.StringIO(), width=200)
    overrides = ("data=digits", "wandb=disabled", "steps=30")
    request = Request("full", "batch", ("my_depth",), overrides, str(folder), jobs=1)
    results = reproduce(request, console)
    assert results.name == "full-batch+data-digits+steps-30+my_depth"
    assert "my_depth is an experiment of your own: no claim judges it" in console.file.getvalue()
    report = (results / "REPORT.md").read_text()
    assert "## my_depth" in report
    assert re.search(r"\| none \| hidden \[8, 8\] \| 2 \(0\) \| [\d.]+ \(.* \| [\d.]+% \(", report)
    assert "(figures/my_depth_curves.png)" in report
    assert "<!-- With BN, hidden [8] -->" in (results / "figures" / "my_depth_curves.svg").read_text()
    assert len((results / "tables" / "my_depth.runs.csv").read_text().splitlines()) == 9


def test_results_with_an_experiment_of_one_s_own_are_not_the_committed_ones(folder: Path) -> None:
    (folder / "experiment").mkdir()
    (folder / "experiment" / "my_depth.yaml").write_text(EXPERIMENT)
    request = Request("full", only=("my_depth",), config_dir=str(folder))
    assert request.results("batch", False) not in (store.committed_results(), store.results_folder("full"))
    other_arms = Request("full", overrides=("arm=inception,mine",))
    assert other_arms.results("batch", False) != store.results_folder("full")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("mnist_training", EXPERIMENT, "mnist_training is taken"),
        ("scale_invariance", EXPERIMENT, "scale_invariance is taken"),
        ("comparison", EXPERIMENT, "comparison is taken"),
        ("my.depth", EXPERIMENT, "only letters, digits"),
        ("my_width", EXPERIMENT, "must be `experiment: my_width`"),
    ],
)
def test_an_experiment_s_name_is_its_own_and_that_of_its_file(folder: Path, name: str, text: str, message: str) -> None:
    (folder / "experiment").mkdir()
    (folder / "experiment" / f"{name}.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        reproduce(Request("smoke", "batch", (name,), ("data=digits",), str(folder)), Console(file=io.StringIO()))


def test_editing_its_source_makes_another_run(folder: Path) -> None:
    def key() -> str:
        with Composer(str(folder)) as composer:
            [config] = composer.sweep([*SMALL, "norm=centred"], single=True)
        return run.plan(config).key

    before = key()
    assert key() == before
    (folder / "centred_norm.py").write_text(MODULE + "\n# another version\n")
    assert key() != before


def test_a_class_that_is_not_there_is_named(folder: Path) -> None:
    (folder / "norm" / "centred.yaml").write_text("name: centred\n_target_: nowhere.Centred\n")
    call = processes.call(folder.parent, "train", "--config-dir", str(folder), *SMALL, "norm=centred")
    assert call.code == 2
    assert "nowhere.Centred" in call.err
    assert "Traceback" not in call.err
