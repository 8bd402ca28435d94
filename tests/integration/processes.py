"""Processes to be killed, raced and refused: forked from one server that has the slow imports behind it."""

from __future__ import annotations

import json
import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bnrepro import store, tables
from bnrepro.config.schema import Config
from bnrepro.runs import provenance, run

TIMEOUT_S = 120
TRAIN = store.REPOSITORY / "scripts" / "train.py"

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["bnrepro.runs.engine", "bnrepro.tables", "bnrepro.config.compose", "rich.console", "hydra.main"]
)


def start(target: Callable[..., None], *arguments: Any) -> Any:
    """A new process that has run ``target(*arguments)`` once :func:`wait` returns."""
    process = CONTEXT.Process(target=target, args=arguments)
    process.start()
    return process


def wait(process: Any) -> int:
    """Its exit code; minus the signal's number if one killed it."""
    process.join(TIMEOUT_S)
    if process.is_alive():
        process.kill()
        raise TimeoutError("the process is stuck")
    return process.exitcode


# ------------------------------------------------------------------------------------------- the command line


def train_command(arguments: list[str], cwd: str, outputs: str, said: str) -> None:
    """``python scripts/train.py ARGUMENTS`` in the folder ``cwd``; stdout and stderr go to ``said``.out, .err."""
    for stream, suffix in ((sys.stdout, "out"), (sys.stderr, "err")):
        stream.flush()
        file = os.open(f"{said}.{suffix}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1 if suffix == "out" else 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    os.chdir(cwd)
    os.environ["BNREPRO_OUTPUTS"] = outputs
    sys.argv = [str(TRAIN), *arguments]
    runpy.run_path(str(TRAIN), run_name="__main__")


def rank_command(rank: int, world: int, port: int, arguments: list[str], outputs: str, said: str) -> None:
    """The same as one of ``world`` processes that torchrun starts, which differ in their environment alone."""
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    train_command(arguments, outputs, outputs, f"{said}-{rank}")


# -------------------------------------------------------------------------------------------------- the sweep


class Moments:
    """Counts the moments at which a write has come one stage further, and ends the process at the chosen one.

    The stages of a write: the file beside it is open and empty; half of it is on the disk; all of it is; it has its
    final name. Beside them: a checkpoint is about to be removed, is removed.
    """

    def __init__(self, kill_at: int | None) -> None:
        self.kill_at, self.count = kill_at, 0
        self.vouching: list[int] = []  # moments at which a DONE is being opened
        self._wrap(Path, "replace", before=True, after=True)
        self._wrap(Path, "unlink", before=True, after=True)
        self._wrap(os, "fsync", half=True)
        opened = Path.open

        def watched(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            file = opened(path, mode, *args, **kwargs)
            if mode == "wb":
                if ".DONE." in path.name:
                    self.vouching.append(self.count + 1)
                self.reached()
            return file

        Path.open = watched  # type: ignore[method-assign]

    def reached(self) -> None:
        self.count += 1
        if self.count == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def _wrap(self, owner: Any, name: str, before: bool = False, after: bool = False, half: bool = False) -> None:
        original = getattr(owner, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            if half:
                if self.count + 1 == self.kill_at:
                    os.ftruncate(args[0], os.fstat(args[0]).st_size // 2)
                self.reached()
            if before:
                self.reached()
            result = original(*args, **kwargs)
            if after:
                self.reached()
            return result

        setattr(owner, name, watched)


def train_sweep(configs: list[Config], outputs: str, kill_at: int | None = None, log: str | None = None) -> None:
    """Every run of a sweep in order, then its tables below ``outputs``/results. ``log`` gets a line of JSON:
    what was trained, and how many moments there were."""
    os.environ["BNREPRO_OUTPUTS"] = outputs
    provenance._commit = lambda: "fixed"  # the working tree may change between two of these processes
    moments = Moments(kill_at)
    plans = [run.plan(config) for config in configs]
    statuses = {planned.folder.name: run.execute(planned) for planned in plans}
    tables.write_experiment(
        plans[0].config.experiment, [planned.folder for planned in plans], Path(outputs) / "results"
    )
    if log is not None:
        line = json.dumps({"statuses": statuses, "moments": moments.count, "vouching": moments.vouching}) + "\n"
        with open(log, "a") as file:
            file.write(line)
