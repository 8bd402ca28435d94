"""Where runs and results lie on disk: the only module that knows their paths, and the only one that writes them.

A run's folder holds a checkpoint while the run goes on, and its tables and ``DONE`` once it is finished. ``DONE``
lists every file with its digest and is written last, by one atomic rename: what it does not vouch for is never read.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import gzip
import hashlib
import io
import json
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from bnrepro.errors import StoreError

REPOSITORY = Path(__file__).resolve().parents[2]
GZIP_ABOVE_BYTES = 1_000_000


def outputs_folder() -> Path:
    """Everything that git ignores; $BNREPRO_OUTPUTS moves it."""
    return Path(os.environ.get("BNREPRO_OUTPUTS") or REPOSITORY / "outputs")


def data_folder() -> Path:
    return REPOSITORY / "data"


def configs_folder() -> Path:
    return REPOSITORY / "configs"


def committed_results() -> Path:
    return REPOSITORY / "results"


def results_folder(profile: str, treatment: str = "batch", substitute: str | None = None) -> Path:
    """Where a profile's tables, figures and report go. Only the full profile, on the data that the claims are
    about and with the paper's own treatment, is what the repository commits."""
    if profile == "full" and treatment == "batch" and substitute is None:
        return Path(os.environ.get("BNREPRO_RESULTS") or committed_results())
    parts = [profile] + ([treatment] if treatment != "batch" else []) + ([substitute] if substitute else [])
    return outputs_folder() / "-".join(parts)


# ---------------------------------------------------------------------------------------------- plain files


def write_atomic(path: Path, content: bytes | str) -> None:
    """Replace ``path`` by ``content``, wholly or not at all, also if the machine stops in between."""
    data = content.encode() if isinstance(content, str) else content
    part = path.with_name(f"{_part_prefix(path)}{os.getpid()}.part")
    _remove_parts_of_the_dead(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise StoreError(
            f"cannot write {path}: {error.strerror}. Nothing finished is lost; make room and run again."
        ) from error


def _part_prefix(path: Path) -> str:
    return f".{path.name}.{platform.node()}."


def _remove_parts_of_the_dead(path: Path) -> None:
    """Drop what processes of this machine that were killed while they wrote ``path`` left beside it."""
    prefix = _part_prefix(path)
    for part in path.parent.glob(f"{glob.escape(prefix)}*.part"):
        with contextlib.suppress(ValueError, OSError):
            try:
                os.kill(int(part.name.removeprefix(prefix).removesuffix(".part")), 0)
            except ProcessLookupError:
                part.unlink()


def write_array(path: Path, array: np.ndarray) -> None:
    """Keep an array behind its digest, to be read back by :func:`read_array`."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    payload = buffer.getvalue()
    write_atomic(path, _digest(payload).encode() + payload)


def read_array(path: Path) -> np.ndarray:
    """What :func:`write_array` wrote. Raises ``ValueError`` if it is cut short or altered."""
    data = path.read_bytes()
    if data[:_DIGEST_LENGTH] != _digest(data[_DIGEST_LENGTH:]).encode():
        raise ValueError("cut short or altered")
    return np.load(io.BytesIO(data[_DIGEST_LENGTH:]), allow_pickle=False)


def write_table(folder: Path, name: str, text: str) -> Path:
    """Write a CSV table, gzipped above 1 MB with nothing of the moment in its header. Returns its path."""
    data = text.encode()
    plain, packed = folder / f"{name}.csv", folder / f"{name}.csv.gz"
    if len(data) > GZIP_ABOVE_BYTES:
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="wb", filename="", mtime=0, compresslevel=9) as file:
            file.write(data)
        path, other, data = packed, plain, buffer.getvalue()
    else:
        path, other = plain, packed
    if not path.exists() or path.read_bytes() != data:
        write_atomic(path, data)
    other.unlink(missing_ok=True)
    return path


def find_table(folder: Path, name: str) -> Path | None:
    for path in (folder / f"{name}.csv", folder / f"{name}.csv.gz"):
        if path.exists():
            return path
    return None


# ----------------------------------------------------------------------------------------------------- runs


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
            digests[name] = _digest(content.encode() if isinstance(content, str) else content)
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
                if _digest(found[name]) != expected:
                    raise ValueError(f"{name} has changed since")
            return found
        except (OSError, ValueError) as error:
            raise StoreError(
                f"the finished run {self.path} is not as it was written ({error}). Delete that folder and run again: "
                "it alone is trained anew."
            ) from error

    def write_checkpoint(self, payload: bytes) -> None:
        write_atomic(self.checkpoint, _digest(payload).encode() + payload)

    def read_checkpoint(self) -> bytes | None:
        """The last whole checkpoint, None if there is none. Raises :class:`StoreError` if it is cut or altered."""
        if not self.checkpoint.exists():
            return None
        data = self.checkpoint.read_bytes()
        digest, payload = data[:_DIGEST_LENGTH], data[_DIGEST_LENGTH:]
        if digest != _digest(payload).encode():
            raise StoreError(f"{self.checkpoint} is cut short or altered")
        return payload


def try_lock(file: IO[str]) -> bool:
    """Hold the run of this lock file, if nobody else does."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


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


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


_DIGEST_LENGTH = len(_digest(b""))
