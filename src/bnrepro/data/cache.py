"""Arrays on disk behind their digest, for what takes long to compute from image files."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from bnrepro import store
from bnrepro.errors import DataError
from bnrepro.store.files import DIGEST_LENGTH, digest


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an array for :func:`read_array`."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    payload = buffer.getvalue()
    store.write_atomic(path, digest(payload).encode() + payload)


def read_array(path: Path) -> np.ndarray:
    """The array written by :func:`write_array`. Raises :class:`DataError` if the file is missing or damaged."""
    try:
        data = path.read_bytes()
        if data[:DIGEST_LENGTH] != digest(data[DIGEST_LENGTH:]).encode():
            raise ValueError("cut short or altered")
        return np.load(io.BytesIO(data[DIGEST_LENGTH:]), allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"the cache {path} is damaged ({error}): delete it, and it is made again") from error
