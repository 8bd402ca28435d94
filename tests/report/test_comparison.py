"""Normalisers compared: their verdicts side by side, and which claims are asked of which."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fabricated import finish, publish
from rich.console import Console

from bnrepro import store
from bnrepro.claims import EXPERIMENTS, asked_of
from bnrepro.config.schema import Config
from bnrepro.errors import StoreError
from bnrepro.report import advice, comparison, drawing, markdown
from bnrepro.report.judge import judge
from bnrepro.report.side_by_side import print_side_by_side
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


def printed(frame: pd.DataFrame, width: int) -> str:
    shown = Console(file=io.StringIO(), width=width)
    print_side_by_side(frame, shown)
    assert isinstance(shown.file, io.StringIO)
    return shown.file.getvalue()


def test_only_claims_that_are_not_about_batch_norm_itself_are_asked_of_others(tmp_path: Path) -> None:
    asked = set(asked_of("group"))
    sweeps = {"mnist_tuning", "mnist_training", "learning_rate", "init_scale", "dropout", "batch_size"}
    maps = {"operating_points", "operating_points_digits", "stability_limit", "first_layer", "depth"}
    assert asked == sweeps | maps | {"landscape", "shift"}
    compared = {name for name, experiment in EXPERIMENTS.items() if experiment.compared_only}
    assert compared == {"inception_normalisers", "normaliser_cost"}
    assert asked_of("batch") == [name for name in EXPERIMENTS if name not in compared]
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
    assert "| claim | BN | group norm |" in text
    assert "✘ contradicted: of 12 cells: 0 " in text  # the share of cells in which it ends higher
    assert "✘ contradicted: of 12 cells" in printed(frame, 160)
    narrow = printed(frame, 70)
    assert "of 12 cells" not in narrow
    assert "1 BN, 2 group norm" in narrow
    [row] = [line.split() for line in narrow.splitlines() if line.strip().startswith("higher_accuracy ")]
    assert row == ["higher_accuracy", "✔", "✘"]


def test_what_was_not_run_is_said_to_be_so(tmp_path: Path) -> None:
    comparison.write_reports(tmp_path, "quick", {"batch": tmp_path / "nowhere", "group": tmp_path / "neither"})
    frame = comparison.read(tmp_path)
    assert frame is not None
    assert set(frame["verdict"]) == {"not run"}
    assert "– not run" in comparison.section(frame, "full")


def row(normaliser: str, where: str, claim: str, verdict: str, estimate: float | None = 0.5, **more: Any) -> dict:
    unit = "ratio" if claim == "step_cost" else "share"
    return {"where": where, "claim": claim, "normaliser": normaliser, "profile": "exam", "data": "digits",
            "verdict": verdict, "estimate": estimate, "low": 0.4, "high": 0.6, "n": 3, "unit": unit, "said": "",
            "why": "", "cells": ""} | more  # fmt: skip


MATRIX = [
    row("batch", "map", "faster_training", "supported"),
    row("layer", "map", "faster_training", "contradicted", said="1 of 3 cells"),
    row("rms", "map", "faster_training", "weaker"),
    row("mine", "map", "faster_training", "not run", None, why="it was ill"),
    row("batch", "both tuned", "as_accurate_as_batch", "not run", None),
    row("layer", "both tuned", "as_accurate_as_batch", "inconclusive"),
    row(
        "rms",
        "both tuned",
        "as_accurate_as_batch",
        "supported",
        cells="0.1 and 1 | 0.3 and 10, on the edge",
    ),
    row("batch", "a step, MLP", "step_cost", "measured", 1.21),
    row("layer", "a step, MLP", "step_cost", "measured", 1.05),
]


def test_the_conclusions_follow_from_the_verdicts() -> None:
    frame = pd.DataFrame(MATRIX)
    assert advice.situations(frame) == [
        "**To reach a given accuracy in fewer steps, at a scale and rate at which the plain network trains too:** "
        "Batch Normalization; by less than the declared margin: RMS normalisation; not so with layer normalisation; "
        "no answer for mine.",
        "**In the place of Batch Normalization, losing at most half a point in §4.1's network and two in the "
        "Inception:** RMS normalisation; undecided: layer normalisation.",
    ]
    assert advice.costs(frame) == ["**§4.1's network:** layer normalisation 1.05×, Batch Normalization 1.21×."]
    told = dict(zip(("batch", "layer", "rms", "mine"), advice.portraits(frame), strict=True))
    assert told["batch"] == "**Batch Normalization**, 1 question: supported in 1."
    assert told["layer"] == (
        "**Layer normalisation**, 2 questions: contradicted in 1, inconclusive in 1. Contradicted: reaches the plain "
        "network's accuracy in half of the steps (map)."
    )
    assert told["mine"] == "**mine** has no verdict."
    assert advice.unanswered(frame) == ["**mine** (map): it was ill."]
    assert advice.tuned(frame) == [
        "**The plain network** (exam): 0.1 and 1.", "**RMS normalisation**: 0.3 and 10, on the edge.",
    ]  # fmt: skip
    reversed_ = [each | {"verdict": "contradicted" if each["verdict"] == "supported" else each["verdict"]}
                 for each in MATRIX]  # fmt: skip
    assert "none for certain" in advice.situations(pd.DataFrame(reversed_))[0]


def test_the_matrix_as_data() -> None:
    found = comparison.of_frame(pd.DataFrame(MATRIX).assign(said=lambda frame: frame["said"].replace("", None)))
    assert found.normalisers == {"batch": "BN", "layer": "layer norm", "rms": "RMS norm", "mine": "mine"}
    [faster, accurate, cost] = found.rows
    assert (faster.where, faster.slug) == ("map", "faster_training")
    assert faster.says == "reaches the plain network's accuracy in half of the steps"
    assert faster.cells["batch"] == comparison.Cell("supported", "50.00% (40.00% to 60.00%)")
    assert faster.cells["layer"].text == "1 of 3 cells"
    assert faster.cells["mine"] == comparison.Cell("not run", why="it was ill")
    assert set(accurate.cells) == {"batch", "layer", "rms"}
    assert cost.cells["layer"].text.startswith("1.05×")


def judged_alone(tmp_path: Path, composed: Callable[..., list[Config]]) -> tuple[Path, Results]:
    """Runs of none, batch and group in one folder."""
    folder = compared(composed, "batch", 0.05, tmp_path / "all")
    return compared(composed, "group", -0.02, folder), Results(folder)


def test_one_folder_holds_the_runs_of_all_columns(composed: Callable[..., list[Config]], tmp_path: Path) -> None:
    _, runs = judged_alone(tmp_path, composed)
    beside = pd.DataFrame([row("rms", "map", "higher_accuracy", "weaker"), row("group", "map", "x", "supported"),
                           row("weight", "map", "higher_accuracy", "not run", None)])  # fmt: skip
    reasons = {"mine": {"operating_points": "it takes images alone"}}
    comparison.write(tmp_path, runs, "quick", ["batch", "group", "mine"], reasons, beside)
    frame = comparison.read(tmp_path)
    assert frame is not None
    wide = frame[frame["where"] == "map"].pivot(index="claim", columns="normaliser", values="verdict")
    assert list(wide.loc["higher_accuracy"]) == ["supported", "contradicted", "not run", "weaker"]
    assert list(wide.columns) == ["batch", "group", "mine", "rms"]  # of the others, those that were run
    assert "x" not in wide.index
    why = frame[(frame["normaliser"] == "mine") & (frame["claim"] == "higher_accuracy")]["why"].iloc[0]
    assert why == "it takes images alone"
    elsewhere = frame[(frame["normaliser"] == "mine") & (frame["where"] == "Inception")]
    assert not elsewhere["why"].str.contains("images alone").any()  # each row has the reason of its own experiment
    assert set(frame.loc[frame["normaliser"] == "rms", "profile"]) == {"exam"}
    assert list(frame["data"].dropna().unique()) == ["made up", "digits"]
    text = comparison.section(frame, "quick")
    assert "| BN (quick) | group norm (quick) | mine (quick) | RMS norm (exam, digits) |" in text
    assert comparison.MIXED in text
    advised = text.partition("### What to use when")[2].partition("###")[0]
    assert "group normalisation" in advised
    assert "RMS" not in advised  # it was made in another way
    [path] = drawing.draw_comparison(tmp_path, kinds=("png",))
    assert path == tmp_path / "figures" / "comparison.png"


def test_a_comparison_without_a_verdict_has_no_figure(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    comparison.write(tmp_path, Results(tmp_path), "exam", ["batch", "layer"], {})
    frame = comparison.read(tmp_path)
    assert frame is not None
    assert set(frame["verdict"]) == {"not run"}
    assert "no table of operating_points" in frame["why"].iloc[0]
    assert drawing.draw_comparison(tmp_path) == []
    assert "Nothing of it has been run yet: make compare." in comparison.section(frame, "full")


def test_damaged_verdicts_are_named(tmp_path: Path) -> None:
    store.write_atomic(tmp_path / "claims.json", json.dumps({"a": 1})[:-2])
    with pytest.raises(StoreError, match=r"claims\.json is damaged"):
        comparison.write_reports(tmp_path, "quick", {"batch": tmp_path})
