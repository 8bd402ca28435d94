"""The folder of a run or measurement: a checkpoint while it is unfinished, its files and ``DONE`` afterwards.

``DONE`` lists every file with its digest and is written last, by an atomic rename: only what it lists is read.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bnrepro.errors import StoreError
from bnrepro.store.files import DIGEST_LENGTH, digest, write_atomic
from bnrepro.store.locks import Lock
from bnrepro.store.paths import outputs_folder
from bnrepro.store.record import FILE, RunRecord
from bnrepro.store.refusals import reading, shown, writing

SHOWN = 5
"""So many candidates are named where a name means several runs."""

Files = Mapping[str, str | bytes]
"""Content by file name."""


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run, ``outputs/runs/<experiment>/<arm>-s<seed>-<key8>``."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.pt"

    def is_done(self) -> bool:
        """Whether the run is finished. Raises :class:`StoreError` if the disk does not say."""
        with reading(self.path):
            return (self.path / "DONE").exists()

    def lock(self) -> Lock:
        """The lock that a process holds while it works on the run."""
        return Lock(self.path)

    def finish(self, record: RunRecord, files: Files) -> None:
        """Write the run's files and record, then ``DONE``, then remove the checkpoint. Raises :class:`StoreError`."""
        digests = {}
        for name, content in {**files, FILE: record.to_json()}.items():
            write_atomic(self.path / name, content)
            digests[name] = digest(content.encode() if isinstance(content, str) else content)
        write_atomic(self.path / "DONE", json.dumps(digests, indent=1))
        with writing(self.checkpoint):
            self.checkpoint.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove the checkpoint of a finished run, which a process that was killed right after ``DONE`` left behind."""
        with contextlib.suppress(OSError):  # it harms nobody
            self.checkpoint.unlink(missing_ok=True)

    def read(self) -> tuple[RunRecord, dict[str, bytes]]:
        """A finished run's record, and its other files by name. Raises :class:`StoreError` if one has changed."""
        found = {name: self.file(name, expected) for name, expected in self.digests().items()}
        with self._whole():
            if FILE not in found:
                raise ValueError(f"{FILE} is missing")
            record = RunRecord.from_json(found.pop(FILE))
            named = re.search(r"-([0-9a-f]{8})$", self.name)
            if named is not None and not record.key.startswith(named[1]):
                raise ValueError(f"it holds {record.run}, another run")
            return record, found

    def digests(self) -> dict[str, str]:
        """The digests of a finished run's files by name. Raises :class:`StoreError` if ``DONE`` is damaged."""
        with self._whole():
            digests = json.loads((self.path / "DONE").read_bytes())
            if not isinstance(digests, dict):
                raise ValueError("DONE is no list of files")
            return digests

    def file(self, name: str, expected: str) -> bytes:
        """One file of a finished run. Raises :class:`StoreError` if its digest is not the ``expected`` one."""
        with self._whole():
            content = (self.path / name).read_bytes()
            if digest(content) != expected:
                raise ValueError(f"{name} has changed")
            return content

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        """Turn what is wrong with a finished run into a :class:`StoreError` that says what to do."""
        try:
            yield
        except (OSError, ValueError) as error:
            raise StoreError(
                f"the finished run {shown(self.path)} is damaged ({error}). Delete that folder and run again: no other "
                "run is repeated."
            ) from error

    def write_checkpoint(self, payload: bytes) -> None:
        """Replace the checkpoint. Raises :class:`StoreError`."""
        write_atomic(self.checkpoint, digest(payload).encode() + payload)

    def read_checkpoint(self) -> bytes | None:
        """The last checkpoint, None if there is none.

        Raises :class:`CheckpointDamaged` if it is cut short or altered, and :class:`StoreError` if it cannot be read:
        it may be whole then.
        """
        if self.checkpoint.is_dir():
            raise StoreError(
                f"{shown(self.checkpoint)} is a folder: move it away, and the run starts from its beginning"
            )
        with reading(self.checkpoint):
            if not self.checkpoint.exists():
                return None
            data = self.checkpoint.read_bytes()
        expected, payload = data[:DIGEST_LENGTH], data[DIGEST_LENGTH:]
        if expected != digest(payload).encode():
            raise CheckpointDamaged(f"{shown(self.checkpoint)} is cut short or altered")
        return payload

    def set_checkpoint_aside(self) -> Path:
        """Rename a checkpoint that this run cannot continue from: it may be another run's. Returns its new path."""
        aside = self.checkpoint.with_name("checkpoint-of-another-run.pt")
        with writing(aside):
            self.checkpoint.replace(aside)
        return aside

    def remove_unfinished_parts(self) -> None:
        """Remove the half-written files of killed processes; the caller must hold the run's lock."""
        with writing(self.path):
            for part in self.path.glob(".*.part"):
                part.unlink(missing_ok=True)


class CheckpointDamaged(StoreError):
    """A checkpoint that was cut short or altered: nothing can be continued from it."""


def run_folder(experiment: str, label: str, seed: int, key: str) -> RunFolder:
    """The folder of a run: the existing one with this key, else ``<label>-s<seed>-<key8>``.

    Only the key identifies a run: another sweep may have given it another label.
    """
    runs, suffix = _runs(experiment), f"-{key[:8]}"
    usual = runs / f"{label}-s{seed}{suffix}"
    with reading(usual):
        if not usual.exists() and (others := sorted(runs.glob(f"*{suffix}"))):
            return RunFolder(others[0])
    return RunFolder(usual)


def run_named(experiment: str, name: str) -> RunFolder:
    """The folder of a run by its name, which cannot lead elsewhere."""
    return RunFolder(_runs(experiment) / Path(name).name)


def runs_of(experiment: str) -> list[RunFolder]:
    """The finished runs of an experiment on this disk, sorted by name."""
    return [RunFolder(path.parent) for path in sorted(_runs(experiment).glob("*/DONE"))]


def found_run(text: str) -> RunFolder:
    """The finished run that ``text`` means: its folder, or the beginning of its name or key.

    Raises :class:`StoreError` if there is none, or if there are several.
    """
    with contextlib.suppress(OSError):  # such as a name that is too long
        if (Path(text) / "DONE").exists():
            return RunFolder(Path(text))
    everything = outputs_folder() / "runs"
    runs = [RunFolder(path.parent) for path in sorted(everything.glob("*/*/DONE"))]
    exact = [run for run in runs if run.name == text]
    found = exact or [run for run in runs if run.name.startswith(text) or _has_key(run, text)]
    # Two experiments may share a run: the same key, and the same numbers.
    keys = {run.name.rpartition("-")[2]: run for run in found}
    if len(keys) != 1:
        names = ", ".join(sorted(run.name for run in keys.values())[:SHOWN])
        more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
        raise StoreError(
            f"{text} is the beginning of several runs: {names}{more}; give more of it"
            if keys
            else f"no finished run is called {text}, or has that key: neither a folder nor one of {len(runs)} runs in "
            f"{everything}"
        )
    return found[0]


def _has_key(run: RunFolder, text: str) -> bool:
    """Whether a run's key, of which its folder's name has eight digits, begins with ``text``."""
    return re.fullmatch("[0-9a-f]{1,16}", text) is not None and run.name.rpartition("-")[2].startswith(text[:8])


def _runs(experiment: str) -> Path:
    return outputs_folder() / "runs" / experiment
