"""One process at a time works on a folder, also on a disk that has no locks, and a killed one holds nothing."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from bnrepro import store
from bnrepro.errors import StoreError
from bnrepro.store import locks


@pytest.fixture(params=locks.UNSUPPORTED, ids=errno.errorcode.get)
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(locks.Lock, "_told", False)


def test_without_locks_one_works_and_the_other_waits_and_it_is_said_once(
    no_locks: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, other, third = (store.RunFolder(tmp_path / name).lock() for name in ("run", "run", "else"))
    assert one.take()
    assert not other.take()
    assert third.take()
    one.release()
    assert other.take()
    other.release()
    third.release()
    assert sorted(path.name for path in tmp_path.glob("*/*")) == ["lock", "lock"]
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert f"{tmp_path / 'run'} is on a disk without locks" in record.getMessage()


def test_without_locks_a_killed_process_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = (
        "import fcntl, os, sys\n"
        "from pathlib import Path\n"
        "from bnrepro.store.locks import Lock\n"
        "def refuse(*_):\n    raise OSError(38, 'Function not implemented')\n"
        "fcntl.flock = refuse\n"
        "lock = Lock(Path(sys.argv[1]))\n"
        "assert lock.take()\n"
        "print(flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()

    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locks.Lock(tmp_path) as lock:
        assert not lock.take()
        process.kill()
        process.communicate()
        assert lock.take()


def test_who_waits_for_another_machine_learns_which_file_to_remove(
    no_locks: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    holder = locks.Lock(tmp_path)
    assert holder.take()
    monkeypatch.setattr(locks.time, "sleep", lambda seconds: holder.release())
    with locks.Lock(tmp_path) as lock:
        lock.wait()
    assert f"if none is, remove {tmp_path / 'lock.held'}" in caplog.records[-1].getMessage()


def test_another_fault_of_the_lock_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locks.Lock(tmp_path) as lock, pytest.raises(StoreError, match=r"cannot write .*lock: Input/output error"):
        lock.take()


def test_alone_in_a_folder_a_process_goes_on_and_another_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order, waits = [], threading.Event()
    monkeypatch.setattr(locks.time, "sleep", lambda seconds: waits.set() or threading.Event().wait(0.01))

    def other() -> None:
        # In the place of another process: it does not know what this one holds.
        with locks.Lock(tmp_path, inside=False) as lock:
            lock.wait()
            order.append("other")

    with store.alone_in(tmp_path), store.alone_in(tmp_path / "." / "x" / ".."):
        thread = threading.Thread(target=other)
        thread.start()
        assert waits.wait(20)
        order.append("first")
    thread.join(20)
    assert order == ["first", "other"]
    assert not list(tmp_path.rglob("*")), "a results folder holds results alone"


def test_a_results_folder_on_a_disk_without_locks_has_its_own_in_the_outputs(
    no_locks: None, tmp_path: Path, outputs: Path
) -> None:
    with store.alone_in(tmp_path / "results"), locks.Lock(tmp_path / "results", inside=False) as other:
        assert not other.take()
        assert [path.suffix for path in outputs.rglob("*") if path.is_file()] == [".held"]
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
