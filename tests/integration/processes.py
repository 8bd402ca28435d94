"""Processes to be killed, raced and refused: forked from one server that has the slow imports behind it.

A script that is called this way does what a new interpreter would, in the environment of the test, a few seconds
sooner.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import multiprocessing
import os
import runpy
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from bnrepro import store, tables
from bnrepro.config.schema import Config
from bnrepro.runs import provenance, run

TIMEOUT_S = 120
SCRIPTS = store.REPOSITORY / "scripts"
TRAIN = SCRIPTS / "train.py"

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "bnrepro.pipeline.reproduce", "bnrepro.report.dashboard", "rich.console", "hydra.main",
        "torch._dynamo",  # which several processes that train one network import
    ]
)  # fmt: skip


class Forked:
    """In the place of the start method of src's pool: its workers come from the server. Like those of their own
    interpreter they have nothing of their parent but the environment."""

    Pipe = staticmethod(CONTEXT.Pipe)

    @staticmethod
    def Process(target: Callable[..., None], args: tuple[Any, ...], daemon: bool) -> Any:
        return CONTEXT.Process(target=_in_environment, args=(dict(os.environ), target, *args), daemon=daemon)


def start(target: Callable[..., None], *arguments: Any) -> Any:
    """A new process that has run ``target(*arguments)`` once :func:`wait` returns."""
    process = Forked.Process(target, arguments, daemon=False)
    process.start()
    return process


def _in_environment(environment: dict[str, str], target: Callable[..., None], *arguments: Any) -> None:
    os.environ.clear()
    os.environ |= environment
    target(*arguments)


def wait(process: Any) -> int:
    """Its exit code; minus the signal's number if one killed it."""
    process.join(TIMEOUT_S)
    if process.is_alive():
        process.kill()
        raise TimeoutError("the process is stuck")
    return process.exitcode


# ---------------------------------------------------------------------------------------------------- scripts


def script(name: str, arguments: list[str], cwd: str, said: str) -> None:
    """``python scripts/NAME.py ARGUMENTS`` in the folder ``cwd``; stdout and stderr go to ``said``.out, .err."""
    for stream, suffix in ((sys.stdout, "out"), (sys.stderr, "err")):
        stream.flush()
        file = os.open(f"{said}.{suffix}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1 if suffix == "out" else 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    os.chdir(cwd)
    path = str(SCRIPTS / f"{name}.py")
    sys.argv = [path, *arguments]
    runpy.run_path(path, run_name="__main__")


def loaded(path: Path) -> ModuleType:
    """A script as a module of this process, not run."""
    spec = importlib.util.spec_from_file_location(f"loaded_{path.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call(folder: Path, name: str, *arguments: str) -> SimpleNamespace:
    """A script called in ``folder``: its exit code, and what it said."""
    with tempfile.TemporaryDirectory() as elsewhere:
        said = Path(elsewhere) / "said"
        code = wait(start(script, name, list(arguments), str(folder), str(said)))
        return SimpleNamespace(
            code=code, out=said.with_suffix(".out").read_text(), err=said.with_suffix(".err").read_text()
        )


def rank(number: int, world: int, port: int, arguments: list[str], outputs: str, said: str, dies_at: int = 0) -> None:
    """``scripts/train.py`` as one of ``world`` processes that torchrun starts, which differ in their environment alone.

    With ``dies_at`` the leader is killed when it is about to write that checkpoint: the one before is whole, and the
    steps since are lost.
    """
    os.environ |= {
        "TORCHELASTIC_RUN_ID": "none", "RANK": str(number), "LOCAL_RANK": str(number),
        "WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "BNREPRO_OUTPUTS": outputs,
    }  # fmt: skip
    if dies_at:
        written, write = itertools.count(1), store.RunFolder.write_checkpoint

        def watched(folder: store.RunFolder, payload: bytes) -> None:
            if next(written) == dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
            write(folder, payload)

        store.RunFolder.write_checkpoint = watched  # type: ignore[method-assign]
    script("train", arguments, outputs, f"{said}-{number}")


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
