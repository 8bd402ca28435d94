"""Whatever a disk refuses is one line with the path and the way forward, and nothing is lost."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bnrepro import store
from bnrepro.errors import StoreError
from bnrepro.runs import run


def said(call: Callable[[], Any]) -> str:
    with pytest.raises(StoreError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    return text


def file_instead(place: Path) -> None:
    place.write_text("mine", encoding="utf-8")


def dangling(place: Path) -> None:
    place.symlink_to(place.parent / "gone")


def loop(place: Path) -> None:
    place.symlink_to(place)


@pytest.mark.parametrize("put", [file_instead, dangling, loop])
@pytest.mark.parametrize("below", ["outputs", "outputs/runs", "outputs/runs/single"])
def test_something_else_where_a_folder_belongs_is_named_and_stays(
    put: Callable[[Path], None], below: str, outputs: Path, small: Callable
) -> None:
    place = outputs.parent / below
    place.parent.mkdir(parents=True, exist_ok=True)
    put(place)
    text = said(lambda: run.execute(run.plan(small("norm=none"))))
    assert str(place) in text
    assert "move it away" in text or "read" in text
    assert place.is_symlink() or place.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EIO])
def test_every_refusal_names_its_way_forward(code: int, outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    folder = store.RunFolder(outputs / "runs" / "x" / "y")
    for call in (lambda: store.write_atomic(folder.path / "x.csv", "x"), lambda: folder.lock().take()):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "mkdir", refuse)
            text = said(call)
        assert os.strerror(code) in text
        assert str(folder.path) in text
        assert {errno.EDQUOT: "make room", errno.EIO: "once the disk allows it"}.get(code, "BNREPRO_OUTPUTS") in text


def test_a_name_that_is_too_long_for_the_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small: Callable) -> None:
    monkeypatch.setenv("BNREPRO_OUTPUTS", str(tmp_path / ("x" * 300)))
    assert "File name too long" in said(lambda: run.execute(run.plan(small("norm=none"))))


def test_a_folder_in_the_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "x.csv" / "mine").mkdir(parents=True)
    assert "move that folder away" in said(lambda: store.write_atomic(tmp_path / "x.csv", "new"))
    assert (tmp_path / "x.csv" / "mine").exists()
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize("name", ["two words (1)", "größe-ñ-数", "line\nbreak", "[a]*{b}", "-x", "a=b,c", "\udcff"])
def test_any_path_works_and_is_shown_in_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: Callable
) -> None:
    monkeypatch.setenv("BNREPRO_OUTPUTS", str(tmp_path / name))
    planned = run.plan(small("norm=none"))
    assert run.execute(planned) == "finished"
    assert run.execute(planned) == "skipped"
    assert store.runs_of("single") == [planned.folder]
    (planned.folder.path / "DONE").write_text("{", encoding="utf-8")
    assert "Delete that folder" in said(planned.folder.read)
    assert "\n" not in store.shown(planned.folder.path)


def test_ctrl_c_within_a_write_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        store.write_atomic(tmp_path / "x.csv", "new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("variable", ["BNREPRO_OUTPUTS", "BNREPRO_RESULTS"])
def test_a_tilde_is_the_home(variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(variable, "~/x")
    assert (store.outputs_folder() if variable == "BNREPRO_OUTPUTS" else store.results_folder("full")) == tmp_path / "x"


# ---------------------------------------------------------------------------------------------- checkpoints


def test_a_checkpoint_that_is_a_folder_is_left_alone(small: Callable) -> None:
    planned = run.plan(small("norm=none"))
    (planned.folder.checkpoint / "mine").mkdir(parents=True)
    assert "checkpoint.pt is a folder: move it away" in said(lambda: run.execute(planned))
    assert (planned.folder.checkpoint / "mine").exists()
    (planned.folder.checkpoint / "mine").rmdir()
    planned.folder.checkpoint.rmdir()
    assert run.execute(planned) == "finished"


def test_a_checkpoint_that_cannot_be_read_now_is_kept(small: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = run.plan(small("norm=none"))
    planned.folder.write_checkpoint(b"state")

    def refuse(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        assert "cannot read" in said(lambda: run.execute(planned))
    assert planned.folder.read_checkpoint() == b"state"


def test_a_checkpoint_of_another_run_is_set_aside(
    small: Callable, finished: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    planned = run.plan(small("norm=none"))
    planned.folder.write_checkpoint(b"of another run")
    assert run.execute(planned) == "finished"
    [aside] = planned.folder.path.glob("checkpoint*")
    assert aside.read_bytes().endswith(b"of another run")
    [line] = [record.getMessage() for record in caplog.records]
    assert aside.name in line
    assert "\n" not in line
