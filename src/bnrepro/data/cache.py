"""Arrays that are kept on disk behind their digest: decoded images, so that they are decoded once."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from bnrepro import store
from bnrepro.store.files import DIGEST_LENGTH, digest


def write_array(path: Path, array: np.ndarray) -> None:
    """Keep an array for :func:`read_array`."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    payload = buffer.getvalue()
    store.write_atomic(path, digest(payload).encode() + payload)


def read_array(path: Path) -> np.ndarray:
    """What :func:`write_array` wrote. Raises ``ValueError`` if it is cut short or altered."""
    data = path.read_bytes()
    if data[:DIGEST_LENGTH] != digest(data[DIGEST_LENGTH:]).encode():
        raise ValueError("cut short or altered")
    return np.load(io.BytesIO(data[DIGEST_LENGTH:]), allow_pickle=False)
