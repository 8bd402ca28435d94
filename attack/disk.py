"""A disk that is full at every stage of a command, and then has room: a small one of its own, in memory."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from attack import subjects, trial
from attack.starts import Start
from attack.subjects import Subject
from attack.trial import Undisturbed
from bnrepro.errors import UserError

ROOM = 256 << 20


def fill(
    subject: Subject, expected: Undisturbed, number: int, base: Path, folder: Path, start: Start
) -> Iterator[tuple[str, list[str]]]:
    """Outcome and faults with ``number`` sizes of the disk, evenly up to what the command needs."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for index in range(number):
        with _mounted(folder):
            before = _used(subjects.fresh(subject, base, folder))
            needed = sum(len(content) for content in expected.files.values())
            _resize(folder, before + 4096 + needed * index // number)
            ended = trial.call(subject, folder, start)
            full = "No space left" in ended.err or "No space left" in ended.out
            wrong = []
            if "Traceback" in ended.err:
                wrong.append(f"a traceback: {ended.err[-1500:]}")
            if ended.code and not full:
                wrong.append(f"exit code {ended.code} and no word of the disk: {ended.err[-500:]}")
            if ended.left:
                wrong.append("still running")
            _resize(folder, ROOM)
            wrong += trial.healed(subject, expected, folder, start)
        yield f"full: code {ended.code}", wrong


@contextlib.contextmanager
def _mounted(folder: Path) -> Iterator[None]:
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", folder], capture_output=True, text=True
    )
    if made.returncode:
        raise UserError(f"--disk needs the right to mount: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def _resize(folder: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)


def _used(folder: Path) -> int:
    """The room that the files below ``folder`` take: whole pages."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file())
