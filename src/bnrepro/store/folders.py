"""The folder of one run or measurement: a checkpoint while it goes on, its files and ``DONE`` once it is finished.

``DONE`` lists every file with its digest and is written last, by one atomic rename: nothing reads what it does not
vouch for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bnrepro.errors import StoreError
from bnrepro.store.files import DIGEST_LENGTH, digest, write_atomic
from bnrepro.store.paths import outputs_folder
from bnrepro.store.record import FILE, RunRecord

Files = Mapping[str, str | bytes]
"""Content by file name."""


@dataclass(frozen=True)
class RunFolder:
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

    def lock_file(self) -> IO[str]:
        """What :func:`~bnrepro.store.try_lock` takes; to close it is to let the run go."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            return (self.path / "lock").open("w", encoding="utf-8")
        except OSError as error:
            raise StoreError(f"cannot write {self.path}: {error.strerror}") from error

    def finish(self, record: RunRecord, files: Files) -> None:
        """Write the run's files and its record, then vouch for them in ``DONE``, then drop the checkpoint."""
        digests = {}
        for name, content in {**files, FILE: record.to_json()}.items():
            write_atomic(self.path / name, content)
            digests[name] = digest(content.encode() if isinstance(content, str) else content)
        write_atomic(self.path / "DONE", json.dumps(digests, indent=1))
        self.checkpoint.unlink(missing_ok=True)

    def read(self) -> tuple[RunRecord, dict[str, bytes]]:
        """A finished run's record, and its other files by name. Raises :class:`StoreError` if one is not what was
        written."""
        try:
            digests = json.loads((self.path / "DONE").read_bytes())
            if not isinstance(digests, dict):
                raise ValueError("DONE is not a list of files")
            found = {}
            for name, expected in digests.items():
                found[name] = (self.path / name).read_bytes()
                if digest(found[name]) != expected:
                    raise ValueError(f"{name} has changed since")
            if FILE not in found:
                raise ValueError(f"{FILE} is missing")
            return RunRecord.from_json(found.pop(FILE)), found
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

    def remove_unfinished_parts(self) -> None:
        """Drop the half-written files of a process that was killed while it wrote; call with the run locked."""
        for part in self.path.glob(".*.part"):
            part.unlink(missing_ok=True)


def run_folder(experiment: str, label: str, seed: int, key: str) -> RunFolder:
    """The folder of a run: the one that holds this key already, or ``<label>-s<seed>-<key8>``.

    A sweep may name a run after what it sweeps; the key alone says which run it is.
    """
    runs, suffix = outputs_folder() / "runs" / experiment, f"-{key[:8]}"
    usual = runs / f"{label}-s{seed}{suffix}"
    if not usual.exists() and (others := sorted(runs.glob(f"*{suffix}"))):
        return RunFolder(others[0])
    return RunFolder(usual)


def run_named(experiment: str, name: str) -> RunFolder:
    """A run by its folder's name."""
    return RunFolder(outputs_folder() / "runs" / experiment / Path(name).name)


def runs_of(experiment: str) -> list[RunFolder]:
    """Every finished run of an experiment that is on this disk, by name."""
    folder = outputs_folder() / "runs" / experiment
    return [RunFolder(path.parent) for path in sorted(folder.glob("*/DONE"))]
