"""The folder of one run or measurement: a checkpoint while it goes on, its tables and ``DONE`` once it is finished.

``DONE`` lists every file with its digest and is written last, by one atomic rename: what it does not vouch for is
never read.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bnrepro.errors import StoreError
from bnrepro.store.files import DIGEST_LENGTH, digest, try_lock, write_atomic
from bnrepro.store.paths import outputs_folder


@dataclass(frozen=True)
class Run:
    """One run's folder, ``outputs/runs/<experiment>/<arm>-s<seed>-<key8>``."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.pt"

    def is_done(self) -> bool:
        return (self.path / "DONE").exists()

    @contextlib.contextmanager
    def lock(self, on_wait=lambda: None) -> Iterator[None]:
        """Hold the run; a second process waits here (``on_wait`` is called once). Freed even by a killed process."""
        with self.lock_file() as file:
            if not try_lock(file):
                on_wait()
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def lock_file(self) -> IO[str]:
        """What :func:`try_lock` takes; to close it is to let the run go."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            return (self.path / "lock").open("w")
        except OSError as error:
            raise StoreError(f"cannot write {self.path}: {error.strerror}") from error

    def finish(self, files: dict[str, str | bytes]) -> None:
        """Write the run's files, then vouch for them in ``DONE``, then drop what was only needed on the way."""
        digests = {}
        for name, content in files.items():
            write_atomic(self.path / name, content)
            digests[name] = digest(content.encode() if isinstance(content, str) else content)
        write_atomic(self.path / "DONE", json.dumps(digests, indent=1))
        self.checkpoint.unlink(missing_ok=True)

    def read(self) -> dict[str, bytes]:
        """Every file of a finished run by name. Raises :class:`StoreError` if one is not what was written."""
        try:
            digests = json.loads((self.path / "DONE").read_text())
            if not isinstance(digests, dict):
                raise ValueError("DONE is not a list of files")
            found = {}
            for name, expected in digests.items():
                found[name] = (self.path / name).read_bytes()
                if digest(found[name]) != expected:
                    raise ValueError(f"{name} has changed since")
            return found
        except (OSError, ValueError) as error:
            raise StoreError(
                f"the finished run {self.path} is not as it was written ({error}). Delete that folder and run again: "
                "it alone is trained anew."
            ) from error

    def write_checkpoint(self, payload: bytes) -> None:
        write_atomic(self.checkpoint, digest(payload).encode() + payload)

    def read_checkpoint(self) -> bytes | None:
        """The last whole checkpoint, None if there is none. Raises :class:`StoreError` if it is cut or altered."""
        if not self.checkpoint.exists():
            return None
        data = self.checkpoint.read_bytes()
        expected, payload = data[:DIGEST_LENGTH], data[DIGEST_LENGTH:]
        if expected != digest(payload).encode():
            raise StoreError(f"{self.checkpoint} is cut short or altered")
        return payload


def run(experiment: str, arm: str, seed: int, key: str) -> Run:
    return Run(outputs_folder() / "runs" / experiment / f"{arm}-s{seed}-{key[:8]}")


def run_named(experiment: str, name: str) -> Run:
    """A run by its folder's name."""
    return Run(outputs_folder() / "runs" / experiment / Path(name).name)


def runs_of(experiment: str) -> list[Run]:
    """Every finished run of an experiment that is on this disk, by name."""
    folder = outputs_folder() / "runs" / experiment
    return [Run(path.parent) for path in sorted(folder.glob("*/DONE"))]


def remove_unfinished_parts(target: Run) -> None:
    """Drop the half-written files of a process that was killed while it wrote; call with the run locked."""
    for part in target.path.glob(".*.part"):
        part.unlink(missing_ok=True)
