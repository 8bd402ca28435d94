"""A disk that is full from any write on: one message and no half file, and with room the same files as ever."""

from __future__ import annotations

import builtins
import errno
import io
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bnrepro.errors import UserError
from bnrepro.pipeline import stages
from bnrepro.pipeline.reproduce import Request, reproduce
from bnrepro.runs import run
from bnrepro.store.tables import SUMS

POINTS = 30
REQUEST = Request("smoke", only=("bias_redundant",), overrides=("data=digits", "wandb=disabled"))


class Disk:
    """Counts the operations that need room, and refuses them from the chosen one on."""

    def __init__(self) -> None:
        self.count, self.full_at = 0, 0

    def asked(self) -> None:
        self.count += 1
        if self.full_at and self.count >= self.full_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @contextmanager
    def between(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for owner, name in ((os, "fsync"), (os, "mkdir"), (os, "open"), (io, "open"), (builtins, "open")):
                patch.setattr(owner, name, self._watched(getattr(owner, name)))
            yield

    def _watched(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*values: Any, **named: Any) -> Any:
            mode = named.get("mode", values[1] if len(values) > 1 else None)
            if original.__name__ != "open" or (
                (isinstance(mode, str) and set(mode) & set("wax+")) or (isinstance(mode, int) and mode & os.O_CREAT)
            ):
                self.asked()
            return original(*values, **named)

        call.__name__ = original.__name__
        return call


def files_of(outputs: Path) -> dict[str, bytes]:
    """All that is read later, without the times and the digests over them."""
    return {
        path.relative_to(outputs).as_posix(): path.read_bytes()
        for path in sorted(outputs.rglob("*"))
        if path.is_file()
        and path.name not in ("lock", "meta.json", "DONE", "REPORT.md", SUMS)
        and ".meta." not in path.name
        and "cache" not in path.parts
    }


def test_full_at_any_write(outputs: Path, small: Callable, one_format: None, monkeypatch: pytest.MonkeyPatch) -> None:
    # Measured and published in this process, where the disk is watched.
    monkeypatch.setattr(stages, "TIMED", REQUEST.only)
    disk, planned = Disk(), run.plan(small("norm=none"))

    def everything() -> None:
        run.execute(planned)
        reproduce(REQUEST, Console(file=io.StringIO()))

    with disk.between():
        everything()
    expected, total = files_of(outputs), disk.count
    assert any(name.endswith(".svg") for name in expected)
    assert total > POINTS
    for point in range(POINTS):
        shutil.rmtree(outputs)
        disk.count, disk.full_at = 0, 1 + point * total // POINTS
        with disk.between(), pytest.raises(UserError, match="No space left on device") as caught:
            everything()
        assert "\n" not in str(caught.value)
        assert not list(outputs.rglob("*.part"))
        everything()
        assert files_of(outputs) == expected, f"full at operation {disk.full_at} of {total}"
