"""The door of every script: whatever the terminal is like, no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bnrepro import store

SCRIPTS = store.REPOSITORY / "scripts"


def call(*command: str, encoding: str = "utf-8") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, *command], capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding}, timeout=120
    )


@pytest.mark.parametrize("arguments", [("--help",), ("optimizer.lrr=1",)])
def test_a_terminal_without_greek_letters_gets_other_characters(arguments: tuple[str, ...]) -> None:
    done = call(str(SCRIPTS / "train.py"), *arguments, encoding="ascii")
    assert done.returncode == (0 if arguments == ("--help",) else 2)
    assert b"Traceback" not in done.stderr
    assert (done.stdout + done.stderr).isascii()


@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS.glob("*.py")))
def test_every_script_explains_itself(script: str) -> None:
    done = call(str(SCRIPTS / script), "--help", encoding="ascii")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) > 100


def test_a_reader_that_has_seen_enough_ends_it_quietly(tmp_path: Path) -> None:
    with (tmp_path / "said").open("wb") as said:
        script = subprocess.Popen(
            [sys.executable, str(SCRIPTS / "train.py"), "--help"], stdout=subprocess.PIPE, stderr=said
        )
        assert script.stdout is not None
        script.stdout.close()
        assert script.wait(60) != 0
    assert (tmp_path / "said").read_text() == ""
