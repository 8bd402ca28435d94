"""How an attacked command starts: as an interpreter of its own, or forked from a server with its imports behind it.

The workers of a command are interpreters of their own either way.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from bnrepro import store

HOOK = store.REPOSITORY / "attack" / "hook"
PRELOADED = ("bnrepro.pipeline.reproduce", "bnrepro.pipeline.restore", "bnrepro.pipeline.verify", "hydra.main")


class Started(Protocol):
    """A command that runs in a process group of its own."""

    @property
    def pid(self) -> int: ...
    def code(self) -> int | None:
        """Its exit code, minus the number of the signal that ended it; None while it runs."""
        ...


Start = Callable[[Sequence[str], Mapping[str, str], Path], Started]
"""Starts a command, without its interpreter, in an environment; its output goes to the path with ``.out`` and ``.err``
added."""


class Interpreter:
    """As its user starts it."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], said: Path) -> None:
        with open(f"{said}.out", "wb") as out, open(f"{said}.err", "wb") as err:
            self._process = subprocess.Popen(
                [sys.executable, *arguments], env=environment, cwd=store.REPOSITORY, stdout=out, stderr=err,
                start_new_session=True,
            )  # fmt: skip
        self.pid = self._process.pid

    def code(self) -> int | None:
        return self._process.poll()


class Forked:
    """Some seconds sooner. A signal cannot find it in its imports."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], said: Path) -> None:
        context: Any = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(PRELOADED))
        self._process = context.Process(target=_become, args=(list(arguments), dict(environment), str(said)))
        self._process.start()
        self.pid: int = self._process.pid

    def code(self) -> int | None:
        return self._process.exitcode


def _become(arguments: list[str], environment: dict[str, str], said: str) -> None:
    os.setsid()
    os.environ.clear()
    os.environ |= environment
    for number, suffix in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{said}.{suffix}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    os.chdir(store.REPOSITORY)
    specification = importlib.util.spec_from_file_location("hook", HOOK / "sitecustomize.py")
    assert specification is not None
    assert specification.loader is not None
    hook = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(hook)
    hook.at_the_door()
    if arguments[0] == "-m":
        sys.argv = list(arguments[1:])
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(arguments)
        runpy.run_path(arguments[0], run_name="__main__")
