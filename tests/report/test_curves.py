"""The curves of a user's own runs: drawn at a run's end, and over each other, with no claim and nothing changed."""

from __future__ import annotations

import logging
import runpy
from collections.abc import Callable
from pathlib import Path

import processes
import pytest

from bnrepro import store
from bnrepro.errors import ConfigError, StoreError
from bnrepro.report import curves
from bnrepro.runs.run import Planned
from bnrepro.store import RunFolder

Finished = Callable[..., Planned]
PROBED = ("probes.activations.enabled=true", "norm=batch")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != curves.PICTURE}


def test_a_run_s_picture_lies_beside_its_record_and_changes_nothing(finished: Finished) -> None:
    folder = finished(*PROBED).folder
    before, read = contents(folder.path), folder.read()
    picture = curves.draw([folder])
    assert picture == folder.path / "curves.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert (contents(folder.path), folder.read()) == (before, read)
    picture.write_bytes(b"anything")
    assert folder.read() == read


def test_a_run_alone_shows_every_split_and_the_inputs_of_its_layers(finished: Finished) -> None:
    run = curves.read(finished(*PROBED).folder)
    figure = curves._figure([run])
    loss, accuracy, *layers = figure.axes
    assert [line.get_label() for line in loss.lines] == ["train", "validation", "test"]
    assert [line.get_label() for line in accuracy.lines] == ["validation", "test"]
    assert list(loss.lines[0].get_xdata()) == run.metrics["train", "loss"][0]
    assert list(loss.lines[0].get_ydata()) == run.metrics["train", "loss"][1]
    assert [axes.get_title() for axes in layers] == ["inputs of hidden layer 1", "inputs of hidden layer 2"]
    assert loss.get_xlim() == (0, 40)


def test_runs_over_each_other_are_told_apart_by_their_names(finished: Finished, tmp_path: Path) -> None:
    probed, plain = finished(*PROBED).folder, finished("norm=none", "steps=60").folder
    out = curves.draw([probed, plain, probed], tmp_path / "new" / "both.svg")
    drawn = out.read_text()
    assert all(f"<!-- {run.name} -->" in drawn for run in (probed, plain))
    loss, accuracy, *layers = curves._figure([curves.read(probed), curves.read(plain)]).axes
    assert [line.get_label() for line in accuracy.lines] == [probed.name, plain.name]
    assert [len(axes.lines) for axes in layers] == [1, 1]
    assert loss.get_xlim() == (0, 60)
    assert curves.draw([probed, plain]).parent == store.outputs_folder() / "figures"


def test_a_run_of_no_step_is_a_point(finished: Finished) -> None:
    figure = curves._figure([curves.read(finished("steps=0").folder)])
    assert {line.get_marker() for line in figure.axes[1].lines} == {"."}


def test_a_matplotlibrc_of_the_user_s_changes_nothing(finished: Finished) -> None:
    folder = finished("norm=none").folder
    before = curves.draw([folder]).read_bytes()
    with curves.mpl.rc_context({"axes.grid": True, "font.size": 20}):
        assert curves.draw([folder]).read_bytes() == before


def test_another_format_and_what_is_no_finished_run_are_refused(finished: Finished, tmp_path: Path) -> None:
    folder = finished("norm=none").folder
    with pytest.raises(ConfigError, match=r"ends in \.png, \.svg, \.pdf"):
        curves.draw([folder], tmp_path / "x.jpeg")
    (folder.path / "DONE").unlink()
    with pytest.raises(StoreError, match="no finished run"):
        curves.draw([folder])


@pytest.mark.parametrize("error", [OSError("no font"), StoreError("the disk is full"), MemoryError()])
def test_an_error_of_drawing_is_none_of_the_run(
    error: Exception, finished: Finished, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(folders: list[RunFolder]) -> Path:
        raise error

    folder = finished("norm=none").folder
    monkeypatch.setattr(curves, "draw", fail)
    runpy.run_path(str(processes.TRAIN))["_draw"](folder, logging.getLogger("train"))
    assert f"the run is finished: python scripts/plot.py {folder.name}" in caplog.text
    assert str(error) in caplog.text
