"""A user's own normaliser: a YAML file and a class in a folder of theirs, and no line of this repository touched."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import processes
import pytest
from rich.console import Console

from bnrepro.config.compose import Composer
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
    request = Request("smoke", "centred", ("mnist_training",), SMALL, str(folder), jobs=1)
    results = reproduce(request, console)
    assert "centred" in results.name
    judged = json.loads((results / "claims.json").read_text())
    assert judged["higher_accuracy"]["n"] == 2
    assert {estimate["arm"] for estimate in judged["higher_accuracy"]["estimates"]} == {"none", "centred"}


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
