"""A user's own normaliser: a YAML file and a class in a folder of theirs, and no line of this repository touched."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import processes
import pytest
from rich.console import Console

from bnrepro import store
from bnrepro.config.checks import declares
from bnrepro.config.compose import Composer
from bnrepro.errors import ConfigError
from bnrepro.pipeline.reproduce import Request, reproduce
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
    )
    told = [line for line in report.splitlines() if not line.startswith(of_the_paper)]
    assert not [line for line in told if re.search(r"Batch Normalization|\bBN\b", line)]
    legend = (results / "figures" / "mnist_training_accuracy.svg").read_text()  # which keeps each text as a comment
    assert "<!-- With centred -->" in legend
    assert "<!-- Without normalisation -->" in legend


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
