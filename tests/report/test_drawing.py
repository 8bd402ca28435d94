"""Figures are drawn when they are not those of the tables and the code, and only then."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fabricated import vouch
from PIL import Image

from bnrepro import store
from bnrepro.errors import ConfigError, Interrupted
from bnrepro.report import drawing
from bnrepro.tables import Results

NAMES = ("identity_recoverable", "bias_redundant")
"""Two measurements whose figures are quick to draw."""


@pytest.fixture
def results(tmp_path: Path) -> Results:
    (tmp_path / "tables").mkdir()
    for name in NAMES:
        for table in (store.REPOSITORY / "results" / "tables").glob(f"{name}.*"):
            shutil.copy(table, tmp_path / "tables")
    vouch(tmp_path)
    return Results(tmp_path)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Grows by the folder of every call that draws."""
    calls: list[Path] = []
    draw = drawing.draw
    monkeypatch.setattr(drawing, "draw", lambda results: calls.append(results.folder) or draw(results))
    return calls


def contents(results: Results) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((results.folder / "figures").iterdir())}


def test_figures_are_drawn_once(results: Results, drawn: list[Path]) -> None:
    drawing.publish(results)
    assert {name.partition(".")[0] for name in contents(results)} == {
        "identity_recoverable_error", "bias_redundant_bias"
    }  # fmt: skip
    drawing.publish(results)
    assert len(drawn) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:-9]),
        lambda path: path.write_bytes(b"other"),
    ],
)
def test_a_figure_that_is_missing_cut_or_altered_is_drawn_again(
    results: Results, drawn: list[Path], damage: Callable[[Path], None], one_format: None
) -> None:
    drawing.publish(results)
    whole = contents(results)
    damage(results.folder / "figures" / "bias_redundant_bias.svg")
    drawing.publish(results)
    assert len(drawn) == 2
    assert contents(results) == whole


def test_another_table_is_drawn_anew(results: Results, drawn: list[Path], one_format: None) -> None:
    drawing.publish(results)
    before = contents(results)
    table = results.folder / "tables" / "identity_recoverable.csv"
    table.write_text(table.read_text().replace("e-16", "e-14"))
    vouch(results.folder)
    drawing.publish(Results(results.folder))
    assert len(drawn) == 2
    assert contents(results)["identity_recoverable_error.svg"] != before["identity_recoverable_error.svg"]
    assert contents(results)["bias_redundant_bias.svg"] == before["bias_redundant_bias.svg"]


def test_a_call_that_was_stopped_leaves_nothing_that_passes_for_drawn(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(results: Results) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(drawing, "draw", stopped)
        with pytest.raises(KeyboardInterrupt):
            drawing.publish(results)
    drawing.publish(results)
    assert len(contents(results)) == 6


def test_a_figure_is_compared_with_that_of_its_tables(results: Results) -> None:
    """Some pixels at the edges of letters and lines, as on another CPU, are no difference; another number is one."""
    drawing.draw(results, kinds=("png",))
    figures = results.folder / "figures"
    assert drawing.differences(results) == {}
    same, other = figures / "bias_redundant_bias.png", figures / "identity_recoverable_error.png"
    with Image.open(same) as image:
        pixels = np.array(image.convert("RGB"))
    edges = np.flatnonzero((pixels > 0).any(axis=2) & (pixels < 255).any(axis=2))
    pixels.reshape(-1, 3)[edges[::5]] ^= 8
    Image.fromarray(pixels).save(same)
    assert drawing.differences(results) == {}

    table = results.folder / "tables" / "identity_recoverable.csv"
    table.write_text(table.read_text().replace("e-16", "e-15"))
    vouch(results.folder)
    before = contents(results)
    [(name, how)] = drawing.differences(Results(results.folder)).items()
    assert name == other.name
    assert "grey levels" in how
    assert contents(results) == before
    same.write_bytes(same.read_bytes()[:99])
    other.rename(figures / "unheard_of.png")
    said = drawing.differences(results)
    assert said.keys() == {same.name, other.name, "unheard_of.png"}
    assert "cannot be compared" in said[same.name]
    assert said[other.name] == "is missing"


def test_the_committed_figures_are_those_of_the_committed_tables() -> None:
    committed = Results(store.REPOSITORY / "results")
    assert drawing.differences(committed, [*NAMES, "affine"]) == {}


def _die(task: object, emit: object = None) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_is_one_line_that_says_to_call_again(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The door prints it alone and leaves with 130; figures that others have drawn stay."""
    for table in (store.REPOSITORY / "results" / "tables").glob("*.meta.csv"):
        name = table.name.partition(".")[0]
        shutil.copy(table, results.folder / "tables")
        [numbers] = [each for end in ("csv", "csv.gz") if (each := table.with_name(f"{name}.{end}")).exists()]
        shutil.copy(numbers, results.folder / "tables")
    vouch(results.folder)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(drawing, "_draw", _die)
    with pytest.raises(Interrupted, match=r"^a process that drew figures was killed: .* Call again\.$"):
        drawing.draw(results)


def test_an_unknown_experiment_is_refused_with_the_known_ones(results: Results) -> None:
    with pytest.raises(ConfigError, match=r"no experiment nope: choose from .*mnist_training"):
        drawing.draw(results, ["nope"])
