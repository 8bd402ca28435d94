"""One trial: a command is struck at one moment, called once more, and what is left is compared."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from attack import subjects
from attack.starts import Start, Started
from attack.subjects import Subject

STUCK_S, STUCK = 180, 999
"""A command still running after this many seconds is recorded as hung, in place of its exit code."""
GONE_S = 10
"""How long the processes of a killed command may take to notice."""
HALF = ("*.part", "lock.held", "checkpoint.pt", "tmp*")
"""What no finished command leaves."""


@dataclass(frozen=True)
class Strike:
    """``whom`` is hit by ``number`` at the operation ``at`` on the files or, between 0 and 1, after that share of the
    command's time."""

    whom: str
    number: int
    at: float

    def __str__(self) -> str:
        moment = f"operation {self.at:.0f}" if self.at >= 1 else f"{self.at:.0%} of the time"
        return f"{signal.Signals(self.number).name} to {self.whom} at {moment}"


@dataclass(frozen=True)
class Undisturbed:
    """What a command leaves if nothing happens to it, how long it takes, its operations and those of its workers."""

    files: dict[str, bytes]
    output: str
    seconds: float
    operations: int
    of_workers: int


@dataclass(frozen=True)
class Ended:
    """A call that has ended: its exit code, what it printed, and where the strike found it."""

    code: int
    out: str
    err: str
    operations: int
    struck: bool
    left: tuple[int, ...]


def undisturbed(subject: Subject, base: Path, folder: Path, start: Start) -> Undisturbed:
    """Raises ``RuntimeError`` if the command fails even so."""
    subjects.fresh(subject, base, folder)
    began = time.monotonic()
    ended = call(subject, folder, start)
    seconds = time.monotonic() - began
    if ended.code or ended.left:
        raise RuntimeError(f"{subject.name} fails undisturbed ({ended.code}): {ended.err}")
    files = dict(subjects.settled(subject, folder))
    of_workers = 0
    if subject.workers:
        subjects.fresh(subject, base, folder)
        of_workers = call(subject, folder, start, ATTACK_WHOM="worker").operations
    return Undisturbed(files, ended.out, seconds, ended.operations, of_workers)


def faults(
    subject: Subject, strike: Strike, expected: Undisturbed, base: Path, folder: Path, start: Start
) -> tuple[str, list[str]]:
    """Where the strike found the command, and everything that is not as it should be."""
    subjects.fresh(subject, base, folder)
    first = call(subject, folder, start, strike, expected.seconds)
    outcome = f"code {first.code}" if first.struck else "not hit"
    wrong = []
    if first.struck and first.code not in allowed(strike) and not _worked(subject, expected, folder):
        wrong.append(f"exit code {first.code}: {first.err[-300:]}")
    if "Traceback" in first.err:
        wrong.append(f"a traceback: {first.err[-1500:]}")
    if first.left:
        wrong.append(f"still running: {len(first.left)} processes")
    return outcome, [*wrong, *healed(subject, expected, folder, start)]


def healed(subject: Subject, expected: Undisturbed, folder: Path, start: Start) -> list[str]:
    """What is wrong after one more call."""
    second = call(subject, folder, start)
    wrong = []
    if second.code or second.left:
        wrong.append(f"the next call: exit code {second.code}, {len(second.left)} still running: {second.err[-1500:]}")
    if not subject.retimed and subject.name == "verify" and second.out != expected.output:
        wrong.append("the next call prints something else")
    found = subjects.settled(subject, folder)
    wrong += [f"{name} differs" for name in expected.files if found.get(name) != expected.files[name]]
    wrong += [f"{name} is left over" for name in found if name not in expected.files]
    wrong += [f"{path} is half a file" for pattern in HALF for path in folder.rglob(pattern)]
    return wrong


def _worked(subject: Subject, expected: Undisturbed, folder: Path) -> bool:
    """Whether all the work was done: the signal then found the interpreter at its own end."""
    return subjects.settled(subject, folder) == expected.files


def allowed(strike: Strike) -> tuple[int, ...]:
    """The exit codes of a command that was struck; 0 if it needed no more of what was."""
    if strike.number == signal.SIGKILL and strike.whom != "worker":
        return (-signal.SIGKILL,)
    return (0, 130)


# ---------------------------------------------------------------------------------------------------- calls


def call(
    subject: Subject, folder: Path, start: Start, strike: Strike | None = None, seconds: float = 0, **more: str
) -> Ended:
    """Call the command in ``folder``, struck or not, and wait until all of its processes are gone."""
    mark, count, said = uuid.uuid4().hex, folder.with_name("count"), folder.with_name("said")
    door = Path(f"{count}.door")
    for path in (count, door):
        path.unlink(missing_ok=True)
    given = {"ATTACK_MARK": mark, "ATTACK_COUNT": str(count), **more}
    by_operation = strike is not None and strike.at >= 1
    if strike is not None and by_operation:
        given |= {
            "ATTACK_AT": f"{strike.at:.0f}", "ATTACK_WHOM": strike.whom, "ATTACK_SIGNAL": str(int(strike.number))
        }  # fmt: skip
    process = start(subjects.command(subject, folder), subjects.environment(folder, **given), said)
    with _ended(process, mark):
        struck = strike is not None and not by_operation and _strike(process, strike, seconds, door)
        deadline = time.monotonic() + STUCK_S
        while (code := process.code()) is None and time.monotonic() < deadline:
            time.sleep(0.01)
        left = _left(mark)
    operations = count.stat().st_size if count.exists() else 0
    if strike is not None and by_operation:
        struck = operations >= strike.at
    out, err = (Path(f"{said}.{suffix}").read_text(encoding="utf-8") for suffix in ("out", "err"))
    return Ended(STUCK if code is None else code, out, err, operations, struck, left)


def _strike(process: Started, strike: Strike, seconds: float, door: Path) -> bool:
    """Wait for the moment, and strike. False if there is nothing to hit: the command has ended, or has no worker."""
    began = time.monotonic()
    while not door.exists() and process.code() is None:
        time.sleep(0.005)
    time.sleep(max(0.05, began + strike.at * seconds - time.monotonic()))
    if process.code() is not None:
        return False
    if strike.whom == "group":
        os.killpg(process.pid, strike.number)
        return True
    hit = _children(process.pid)[-1:] if strike.whom == "worker" else [process.pid]
    with contextlib.suppress(ProcessLookupError):
        for pid in hit:
            os.kill(pid, strike.number)
    return bool(hit)


def _children(pid: int) -> list[int]:
    """The workers of a process, without what multiprocessing itself keeps beside them."""
    found = []
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split():
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(int(child))
    return found


@contextlib.contextmanager
def _ended(process: Started, mark: str) -> Iterator[None]:
    """Whatever happens, nothing of the command outlives the trial."""
    try:
        yield
    finally:
        for pid in (*_marked(mark), *([process.pid] if process.code() is None else [])):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _left(mark: str) -> tuple[int, ...]:
    """The processes of a command that do not end by themselves."""
    deadline = time.monotonic() + GONE_S
    while (found := _marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return tuple(found)


def _marked(mark: str) -> list[int]:
    """The living processes that have inherited the mark."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark.encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found
