"""The one life of a folder: work is done once, by one process at a time, and nothing vouches for unfinished work."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import pytest

from bnrepro.runs import lifecycle
from bnrepro.store import Files, RunFolder, RunRecord, locks
from bnrepro.store.record import VERSIONS

RECORD = RunRecord(
    run="none-s0-abcd", key="abcd" * 4, experiment="x", arm="none", seed=0, status="finished", last_step=1,
    data="made up", fingerprint="0" * 16, config={"steps": 1}, versions=dict.fromkeys(VERSIONS, "1"),
    machine={"hardware": "an abacus", "cores": 1}, seconds=1.5, finished=2.5,
)  # fmt: skip


def test_what_is_done_is_skipped(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    assert lifecycle.complete(folder, lambda: (RECORD, {"metrics.csv": "x"})) == "finished"
    assert lifecycle.complete(folder, lambda: pytest.fail("worked again")) == "skipped"
    assert folder.read() == (RECORD, {"metrics.csv": b"x"})


def test_the_status_of_the_record_is_told(tmp_path: Path) -> None:
    diverged = dataclasses.replace(RECORD, status="diverged")
    assert lifecycle.complete(RunFolder(tmp_path / "run"), lambda: (diverged, {})) == "diverged"


def test_work_that_fails_leaves_nothing_done_and_lets_go(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")

    def fail() -> tuple[RunRecord, Files]:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        lifecycle.complete(folder, fail)
    assert not folder.is_done()
    assert lifecycle.complete(folder, lambda: (RECORD, {})) == "finished"


def test_a_second_worker_waits_and_then_skips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at again once it holds the folder: what was finished meanwhile is not done again."""
    folder, begun, waits, results = RunFolder(tmp_path / "run"), threading.Event(), threading.Event(), []
    monkeypatch.setattr(locks.time, "sleep", lambda seconds: waits.set() or threading.Event().wait(0.01))

    def work() -> tuple[RunRecord, Files]:
        begun.set()
        assert waits.wait(20)
        return RECORD, {}

    first = threading.Thread(target=lambda: results.append(lifecycle.complete(folder, work)))
    first.start()
    assert begun.wait(20)
    assert lifecycle.complete(RunFolder(folder.path), lambda: pytest.fail("worked twice")) == "skipped"
    first.join(20)
    assert results == ["finished"]


def test_half_written_files_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    (folder.path / ".metrics.csv.host.1.part").write_text("half")
    lifecycle.complete(folder, lambda: (RECORD, {"metrics.csv": "x"}))
    assert {path.name for path in folder.path.iterdir()} == {"metrics.csv", "meta.json", "DONE", "lock"}
