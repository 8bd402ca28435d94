"""Imported by every interpreter of an attacked command, through PYTHONPATH: counts what it does to the files, and
strikes at the chosen one.

An operation is the opening of a file for writing, a rename, a removal, a new folder, or an fsync, below
$ATTACK_FOLDER. All processes of a command count together, one byte each in $ATTACK_COUNT.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from typing import Any

FOLDER, COUNT = os.environ.get("ATTACK_FOLDER", ""), os.environ.get("ATTACK_COUNT", "")
AT, WHOM = int(os.environ.get("ATTACK_AT", "0")), os.environ.get("ATTACK_WHOM", "")
SIGNAL = int(os.environ.get("ATTACK_SIGNAL", "0"))
FIRST = int(os.environ.setdefault("ATTACK_FIRST", str(os.getpid())))
"""The process that was called; the others are its workers."""
OPENED = os.O_WRONLY | os.O_RDWR
OPERATIONS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")


def below(path: Any) -> bool:
    return isinstance(path, (str, bytes)) and os.fsdecode(path).startswith(FOLDER)


def audit(event: str, values: tuple[Any, ...]) -> None:
    if event == "import" and values[0] == "bnrepro.errors":
        at_the_door()
    elif event == "open":
        if isinstance(values[2], int) and values[2] & OPENED and below(values[0]):
            operation()
    elif event in OPERATIONS and below(values[0]):
        operation()


def at_the_door() -> None:
    """Before it, a signal finds a bare interpreter, which no script can answer for."""
    if os.getpid() == FIRST:
        os.close(os.open(f"{COUNT}.door", os.O_WRONLY | os.O_CREAT))


def operation() -> None:
    if WHOM == "worker" and os.getpid() == FIRST:
        return
    file = os.open(COUNT, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, b".")
        count = os.fstat(file).st_size
    finally:
        os.close(file)
    if WHOM == "disk" and AT and count >= AT:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if WHOM != "disk" and count == AT:
        strike()


def strike() -> None:
    if WHOM == "group":
        os.killpg(0, SIGNAL)
    else:
        os.kill(FIRST if WHOM == "parent" else os.getpid(), SIGNAL)
    if SIGNAL == signal.SIGKILL and WHOM != "parent":
        threading.Event().wait()


def synced(file: int, fsync: Any = os.fsync) -> None:
    operation()  # of which the interpreter tells no hook
    fsync(file)


if COUNT:
    os.fsync = synced
    sys.addaudithook(audit)
