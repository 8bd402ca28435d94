"""The four files of MNIST: where they may lie, under which names, and what is in them."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from pathlib import Path

import numpy as np

from bnrepro import store
from bnrepro.data.places import data_folders, reading
from bnrepro.errors import DataError

# MD5 of the four uncompressed original files.
MNIST_FILES = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
FOLDERS = ("MNIST/raw", "MNIST", "mnist", ".")
"""Folders below a data folder in which the files may lie; the first is torchvision's."""


def find_mnist() -> dict[str, Path] | None:
    """The paths of the four files in $BNREPRO_DATA or data/, whichever comes first with all of them; else None.

    They may be compressed, or named as on Kaggle. Raises :class:`DataError` if $BNREPRO_DATA has only some of the
    files; in data/ a download completes them.
    """
    for root in data_folders():
        for folder in FOLDERS:
            with reading(root / folder):
                found = {name: path for name in MNIST_FILES if (path := _file(root / folder, name)) is not None}
            if len(found) == len(MNIST_FILES):
                return found
            if found and root != store.data_folder():
                missing = ", ".join(sorted(set(MNIST_FILES) - set(found)))
                raise DataError(
                    f"{root / folder} is incomplete: {missing} missing. Complete it, or unset BNREPRO_DATA."
                )
    return None


def read(path: Path, expected: str) -> np.ndarray:
    """The array uint8 in one of the files. Raises :class:`DataError` if its MD5 is not the ``expected`` one."""
    with reading(path):
        content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise _altered(path, str(error)) from error
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != expected:
        raise _altered(path, f"MD5 {found}, expected {expected}")
    dimensions = content[3]
    shape = np.frombuffer(content, ">i4", dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def _file(folder: Path, name: str) -> Path | None:
    """The file ``name`` in ``folder``, also as Kaggle names it, or in a folder of its own name, or compressed."""
    kaggle = name.replace("-idx", ".idx")
    names = (name, kaggle, f"{name}/{name}", f"{kaggle}/{kaggle}", f"{name}.gz", f"{kaggle}.gz")
    return next((folder / each for each in names if (folder / each).is_file()), None)


def _altered(path: Path, reason: str) -> DataError:
    return DataError(
        f"{path} is truncated or altered ({reason}). Delete it, or the folder {path.parent}, and run again to download "
        "it."
    )
