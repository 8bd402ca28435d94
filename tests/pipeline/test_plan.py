"""The folder of a request's results: one for each set of runs, whatever its name would be."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from bnrepro.config.compose import Composer
from bnrepro.errors import ConfigError
from bnrepro.pipeline.ahead import Ahead
from bnrepro.pipeline.plan import Plan, Request


def folder(*overrides: str) -> Path:
    return Request("smoke", overrides=("data=digits", *overrides)).results("batch", on_digits=False)


def test_a_long_sweep_has_a_folder_that_a_disk_can_hold() -> None:
    rates = ",".join(str(rate) for rate in range(1, 121))
    long, other = folder(f"optimizer.lr={rates}"), folder(f"optimizer.lr={rates},121")
    assert len(long.name) < 160
    assert long != other
    assert folder("steps=3").name == "smoke-batch+data-digits+steps-3"


def test_the_same_words_elsewhere_are_other_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        found.append(folder("data.root=."))
    assert found[0] != found[1]
    assert folder(f"data.root={tmp_path / 'two'}") == found[1]


def test_without_an_update_there_is_nothing_to_judge() -> None:
    request = Request("smoke", only=("affine",), overrides=("data=digits", "wandb=disabled", "steps=0"))
    with Composer() as composer, pytest.raises(ConfigError, match="steps=0"):
        Plan(composer, request, Console(file=io.StringIO()))


def test_a_plan_ahead_gives_what_a_plan_gives_and_raises_what_it_raises() -> None:
    names = ("mnist_training", "affine", "init_scale")
    with Composer() as composer:
        console = Console(file=io.StringIO())
        request = Request("smoke", only=names, overrides=("data=digits", "wandb=disabled"))
        whole = Plan(composer, request, console)
        ahead = Ahead(Plan(composer, request, console, ["mnist_training"]))
        found = []
        while not ahead.ended:
            found += ahead.found(wait=True)
        assert ahead.found(wait=True) == []
        assert [name for name, _ in found] == [name for name in whole.runs if name != "mnist_training"]
        assert {name: [item.key for item in items] for name, items in found} == {
            name: [item.key for item in items] for name, items in whole.runs.items() if name != "mnist_training"
        }
        plan = Plan(composer, request, console, ["mnist_training"])
        plan.request = replace(request, overrides=("steps=0",))
        with pytest.raises(ConfigError, match="steps=0"):
            Ahead(plan).found(wait=True)
