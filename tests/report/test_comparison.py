"""Normalisers compared: their verdicts side by side, and which claims are asked of which."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fabricated import finish, publish
from rich.console import Console

from bnrepro import store
from bnrepro.claims import EXPERIMENTS, asked_of
from bnrepro.config.schema import Config
from bnrepro.errors import StoreError
from bnrepro.report import comparison, markdown
from bnrepro.report.judge import judge
from bnrepro.tables import Results

STEPS = [0, 10, 20, 40, 80, 160]


def compared(composed: Callable[..., list[Config]], treatment: str, gain: float, folder: Path) -> Path:
    """Results in which ``treatment`` ends ``gain`` above none."""
    cells = ("model.init_scale=0.1,0.3,1", "optimizer.lr=0.1,0.3,1,3")  # as many as a map needs
    sweep = ("experiment=mnist_training", "data=digits", "steps=160", "seed=0,1,2", f"norm=none,{treatment}", *cells)
    for config in composed(*sweep):
        config.experiment = "operating_points"
        end = 0.9 + (gain * (1 + config.seed / 100) if config.norm["name"] == treatment else 0)
        curves = {
            "validation/accuracy": lambda seed, step: 0.95,
            "test/accuracy": lambda seed, step, end=end: end + seed / 1000 if step else 0.1,
            "train/loss": lambda seed, step: 2.3 / (1 + step),
        }
        finish(config, curves, STEPS)
    publish("operating_points", folder)
    return folder


def test_only_claims_that_are_not_about_batch_norm_itself_are_asked_of_others(tmp_path: Path) -> None:
    asked = set(asked_of("group"))
    sweeps = {"mnist_tuning", "mnist_training", "learning_rate", "init_scale", "dropout", "batch_size"}
    maps = {"operating_points", "operating_points_digits", "stability_limit", "first_layer", "depth"}
    assert asked == sweeps | maps | {"landscape", "shift"}
    assert asked_of("batch") == list(EXPERIMENTS)
    slugs = {claim.slug for claim, _ in judge(Results(tmp_path, "group"))}
    assert "higher_accuracy" in slugs
    assert not slugs & {"affine_needed", "bias_redundant", "step_cost"}


def test_two_treatments_side_by_side(composed: Callable[..., list[Config]], tmp_path: Path) -> None:
    own = compared(composed, "batch", 0.05, tmp_path / "batch")
    markdown.write_report(Results(own))
    other = compared(composed, "group", -0.02, tmp_path / "group")
    markdown.write_report(Results(other, "group"), "quick", beside=own)
    frame = comparison.read(other)
    assert frame is not None
    wide = frame.pivot(index="claim", columns="normaliser", values="verdict")
    assert list(wide.loc["higher_accuracy", ["batch", "group"]]) == ["supported", "contradicted"]
    assert list(wide.loc["placement"].unique()) == ["not run"]
    for folder, command in (
        (own, "--experiments learning_rate"),
        (other, "--experiments learning_rate --treatment group"),
    ):
        notes = json.loads((folder / "claims.json").read_text())["placement"]["notes"]
        assert notes == [f"no table of learning_rate: python scripts/reproduce.py {command}"]
    text = (other / "REPORT.md").read_text()
    assert "| claim | batch | group |" in text
    assert "✘ contradicted: 0.00% (n = 3, no interval)" in text  # the share of cells in which it ends higher
    shown = Console(file=io.StringIO(), width=160)
    comparison.print_side_by_side(frame, shown)
    assert isinstance(shown.file, io.StringIO)
    assert "contradicted" in shown.file.getvalue()


def test_what_was_not_run_is_said_to_be_so(tmp_path: Path) -> None:
    comparison.write(tmp_path, "quick", {"batch": tmp_path / "nowhere", "group": tmp_path / "neither"})
    frame = comparison.read(tmp_path)
    assert frame is not None
    assert set(frame["verdict"]) == {"not run"}
    assert "– not run" in comparison.section(frame, "full")


def test_damaged_verdicts_are_named(tmp_path: Path) -> None:
    store.write_atomic(tmp_path / "claims.json", json.dumps({"a": 1})[:-2])
    with pytest.raises(StoreError, match=r"claims\.json is damaged"):
        comparison.write(tmp_path, "quick", {"batch": tmp_path})
