"""Files are whole or not there, whatever happens to the disk, and nothing that DONE does not vouch for is read."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bnrepro import store
from bnrepro.errors import StoreError
from bnrepro.runs import run
from bnrepro.store import RunRecord
from bnrepro.store.record import VERSIONS

FILES = {"metrics.csv": "step,value\n0,1\n", "weights.pt": b"\x80\x00\xff"}
RECORD = RunRecord(
    run="none-s0-abcd", key="abcd" * 4, experiment="x", arm="none", seed=0, status="finished", last_step=1,
    data="made up", fingerprint="0" * 16, config={"steps": 1, "norm": {"name": "none"}},
    versions=dict.fromkeys(VERSIONS, "1"),
    machine={"hardware": "an abacus", "cores": 1}, seconds=1.5, finished=2.5,
)  # fmt: skip


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class FullFile:
    """A file on a disk that is full after the first ``room`` bytes."""

    def __init__(self, path: Path, room: int) -> None:
        self.file, self.room = path.open("wb", buffering=0), room

    def write(self, data: bytes) -> None:
        self.file.write(data[: self.room])
        if len(data) > self.room:
            full_disk()

    def __enter__(self) -> FullFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


# -------------------------------------------------------------------------------------------------- one file


def test_a_file_is_replaced_as_a_whole_and_nothing_stays_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "x.csv"
    for content in ("long\n" * 100, "short\n", b"bytes"):
        store.write_atomic(path, content)
        assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert [file.name for file in path.parent.iterdir()] == ["x.csv"]


@pytest.mark.parametrize("stage", ["fsync", "replace", "open"])
def test_on_a_full_disk_the_old_file_stays(stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.csv"
    store.write_atomic(path, "old")
    with monkeypatch.context() as patch:
        patch.setattr(os if stage == "fsync" else Path, stage, full_disk)
        with pytest.raises(StoreError, match=r"cannot write .*x\.csv: No space left"):
            store.write_atomic(path, "new")
    assert path.read_text(encoding="utf-8") == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["x.csv"]


def test_a_folder_that_cannot_be_made_is_told_as_clearly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "mkdir", full_disk)
        with pytest.raises(StoreError, match=r"cannot write .*x\.csv: No space left"):
            store.write_atomic(tmp_path / "new" / "x.csv", "new")


def test_a_disk_that_fills_up_within_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.csv"
    store.write_atomic(path, "old")
    opened = Path.open
    monkeypatch.setattr(
        Path, "open", lambda self, mode="r", **kw: opened(self, mode, **kw) if mode != "wb" else _full(self, opened)
    )
    with pytest.raises(StoreError, match="No space left"):
        store.write_atomic(path, "new content that does not fit")
    monkeypatch.undo()
    assert path.read_text(encoding="utf-8") == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["x.csv"]


def _full(path: Path, opened: Callable[..., object]) -> FullFile:
    file = FullFile.__new__(FullFile)
    file.file, file.room = opened(path, "wb", buffering=0), 4  # type: ignore[assignment]
    return file


def test_parts_of_killed_processes_are_removed_and_those_of_living_ones_kept(tmp_path: Path) -> None:
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    here = platform.node()
    dead, alive, other, elsewhere = (
        tmp_path / f".x.csv.{here}.{killed.pid}.part",
        tmp_path / f".x.csv.{here}.{os.getppid()}.part",
        tmp_path / f".y.csv.{here}.{killed.pid}.part",
        tmp_path / f".x.csv.{here}.two.{killed.pid}.part",  # another machine's, on a disk that both share
    )
    for part in (dead, alive, other, elsewhere):
        part.write_text("half", encoding="utf-8")
    store.write_atomic(tmp_path / "x.csv", "whole")
    assert not dead.exists()
    assert alive.exists()
    assert other.exists()
    assert elsewhere.exists()


# ---------------------------------------------------------------------------------------------------- runs


@pytest.fixture
def done(tmp_path: Path) -> store.RunFolder:
    folder = store.RunFolder(tmp_path / "none-s0-abcd")
    folder.path.mkdir()
    folder.finish(RECORD, FILES)
    return folder


def test_a_folder_that_holds_another_run_is_damaged(tmp_path: Path) -> None:
    """Copied by hand: its digests fit, its key does not."""
    folder = store.RunFolder(tmp_path / "none-s0-12345678")
    folder.path.mkdir()
    folder.finish(RECORD, FILES)
    with pytest.raises(StoreError, match="it holds none-s0-abcd, another run"):
        folder.read()


def test_a_finished_run_reads_back_as_it_was_written(done: store.RunFolder) -> None:
    assert done.is_done()
    record, found = done.read()
    assert record == RECORD
    assert list(found) == list(FILES)
    assert found == {name: text.encode() if isinstance(text, str) else text for name, text in FILES.items()}


def alter(path: Path) -> None:
    path.write_bytes(b"X" + path.read_bytes()[1:])


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [alter, cut, Path.unlink])
@pytest.mark.parametrize("name", [*FILES, "meta.json", "DONE"])
def test_a_damaged_run_is_never_read(done: store.RunFolder, name: str, damage: Callable[[Path], None]) -> None:
    damage(done.path / name)
    with pytest.raises(StoreError) as caught:
        done.read()
    assert str(done.path) in str(caught.value)
    assert "Delete that folder" in str(caught.value)


@pytest.mark.parametrize("content", ["", "[]", '"text"', "{", "null"])
def test_a_done_that_is_not_ours_is_refused(done: store.RunFolder, content: str) -> None:
    (done.path / "DONE").write_text(content, encoding="utf-8")
    with pytest.raises(StoreError, match="Delete that folder"):
        done.read()


def test_done_is_the_last_file_and_the_checkpoint_goes_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, order = store.RunFolder(tmp_path / "run"), []
    folder.write_checkpoint(b"state")
    replace, unlink = Path.replace, Path.unlink
    monkeypatch.setattr(Path, "replace", lambda self, to: order.append(to.name) or replace(self, to))
    monkeypatch.setattr(Path, "unlink", lambda self, **kw: order.append(f"-{self.name}") or unlink(self, **kw))
    folder.finish(RECORD, FILES)
    assert order == [*FILES, "meta.json", "DONE", "-checkpoint.pt"]


def test_a_disk_that_fills_up_at_the_end_leaves_the_run_unfinished_with_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = store.RunFolder(tmp_path / "run")
    folder.write_checkpoint(b"state")
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(StoreError, match="No space left"):
        folder.finish(RECORD, FILES)
    monkeypatch.undo()
    assert not folder.is_done()
    assert folder.read_checkpoint() == b"state"


@pytest.mark.parametrize("length", [0, 1, 20, 32, 36])
def test_a_cut_checkpoint_is_refused(tmp_path: Path, length: int) -> None:
    folder = store.RunFolder(tmp_path / "run")
    assert folder.read_checkpoint() is None
    folder.write_checkpoint(b"state")
    whole = folder.checkpoint.read_bytes()
    assert len(whole) == 37
    assert folder.read_checkpoint() == b"state"
    folder.checkpoint.write_bytes(whole[:length])
    with pytest.raises(StoreError, match=r"checkpoint\.pt is cut short or altered"):
        folder.read_checkpoint()


def test_runs_of_an_experiment_are_those_that_are_done(outputs: Path) -> None:
    one, two = store.run_folder("x", "none", 0, "a" * 16), store.run_folder("x", "none", 1, "b" * 16)
    assert one.path == outputs / "runs" / "x" / "none-s0-aaaaaaaa"
    one.path.mkdir(parents=True)
    one.finish(RECORD, FILES)
    two.write_checkpoint(b"state")
    assert store.runs_of("x") == [one]
    assert store.runs_of("y") == []


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.mkdir()
    script = (
        "import fcntl, sys\n"
        f"file = open({str(path / 'lock')!r}, 'w')\n"
        "fcntl.flock(file, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    with (path / "lock").open("w", encoding="utf-8") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    process.kill()
    process.communicate()
    with store.RunFolder(path).lock() as lock:
        assert lock.take(), "the lock outlived its process"


def test_a_full_disk_within_a_training_loses_nothing_finished(
    finished: Callable[..., run.Planned], small: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = finished("norm=none")
    kept = done.folder.read()
    config = small("norm=none", "seed=1", "checkpoint_every_s=1e-9")
    fsync, left = os.fsync, [5]

    def fill(file: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            full_disk()
        fsync(file)

    monkeypatch.setattr(os, "fsync", fill)
    with pytest.raises(StoreError, match="make room and run again"):
        run.execute(run.plan(config))
    monkeypatch.undo()
    assert run.execute(done) == "skipped"
    assert done.folder.read() == kept
    assert run.execute(run.plan(config)) == "finished"
    assert run.plan(config).folder.read()[0].last_step == 40


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("quick",), "quick"),
        (("full", "group"), "full-group"),
        (("full", "batch", "digits"), "full-digits"),
        (("smoke", "mine", "digits"), "smoke-mine-digits"),
    ],
)
def test_only_the_full_protocol_may_reach_the_committed_results(
    outputs: Path, arguments: tuple[str, ...], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.results_folder(*arguments) == outputs / name
    monkeypatch.delenv("BNREPRO_RESULTS")
    assert store.results_folder("full") == store.REPOSITORY / "results"
