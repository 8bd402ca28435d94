"""The original data sets: found on this disk, downloaded, or bundled. All files are checked."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from urllib.error import URLError

import numpy as np
import torch
from torch import Tensor

from bnrepro import store
from bnrepro.config.randomness import generator
from bnrepro.errors import DataError, DataUnavailable

# MD5 of the four uncompressed original files.
MNIST_FILES = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
CIFAR10_FOLDER = "cifar-10-batches-py"
DOWNLOAD_TIMEOUT_S = 20
DIGITS_TEST_EXAMPLES = 360


@dataclass(frozen=True)
class Source:
    """An original data set: images (N, channels, height, width) uint8 from 0 to ``white``, labels (N,) int64.

    ``label`` is its name in figures and tables; ``unreadable`` are the paths of skipped images.
    """

    label: str
    white: int
    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    unreadable: tuple[str, ...] = ()


def mnist() -> Source:
    """MNIST (LeCun et al. 1998). Raises :class:`DataUnavailable` or :class:`DataError`."""
    datasets = _torchvision_datasets()
    root = find_mnist() or _download(
        "MNIST",
        datasets.MNIST,
        f"Put the four uncompressed files into {store.data_folder() / 'MNIST' / 'raw'}, or use the bundled data: "
        "data=digits.",
    )
    for name, expected in MNIST_FILES.items():
        path = root / "MNIST" / "raw" / name
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "md5").hexdigest()
        if found != expected:
            raise DataError(
                f"{path} is truncated or altered (MD5 {found}, expected {expected}). "
                f"Delete it, or the folder {path.parent}, and run again to download it."
            )
    train, test = (datasets.MNIST(str(root), train=part, download=False) for part in (True, False))
    return Source("MNIST", 255, train.data.unsqueeze(1), train.targets, test.data.unsqueeze(1), test.targets)


def find_mnist() -> Path | None:
    """The folder with ``MNIST/raw``: $BNREPRO_DATA or data/, whichever comes first with all files; else None.

    Raises :class:`DataError` if $BNREPRO_DATA has only some of the files; in data/ a download completes them.
    """
    for root in data_folders():
        raw = root / "MNIST" / "raw"
        present = [name for name in MNIST_FILES if (raw / name).is_file()]
        if len(present) == len(MNIST_FILES):
            return root
        if present and root != store.data_folder():
            missing = ", ".join(sorted(set(MNIST_FILES) - set(present)))
            raise DataError(f"{raw} is incomplete: {missing} missing. Complete it, or unset BNREPRO_DATA.")
    return None


def data_folders() -> list[Path]:
    """The folders to search: $BNREPRO_DATA, then data/."""
    named = os.environ.get("BNREPRO_DATA")
    return [*([Path(named)] if named else []), store.data_folder()]


def _download(name: str, dataset: Callable[..., object], otherwise: str) -> Path:
    """Download torchvision's ``dataset`` into data/. Raises :class:`DataUnavailable`, with what to do ``otherwise``."""
    root = store.data_folder()
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_S)
    try:
        dataset(str(root), download=True)
    except (URLError, OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise DataUnavailable(
            f"{name} is neither in $BNREPRO_DATA nor in {root}, and could not be downloaded ({reason}). {otherwise}"
        ) from error
    finally:
        socket.setdefaulttimeout(before)
    return root


def cifar10() -> Source:
    """CIFAR-10 (Krizhevsky 2009), whose files torchvision checks. Raises as :func:`mnist`."""
    found = next((root for root in data_folders() if (root / CIFAR10_FOLDER).is_dir()), None)
    datasets = _torchvision_datasets()
    otherwise = f"Put the folder {CIFAR10_FOLDER} into {store.data_folder()}."
    root = found or _download("CIFAR-10", datasets.CIFAR10, otherwise)
    try:
        parts = [datasets.CIFAR10(str(root), train=part, download=False) for part in (True, False)]
    except RuntimeError as error:
        folder = root / CIFAR10_FOLDER
        raise DataError(f"{folder} is incomplete or altered ({error}). Delete it and run again.") from error
    images, test_images = (torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous() for part in parts)
    labels, test_labels = (torch.tensor(part.targets) for part in parts)
    return Source("CIFAR-10", 255, images, labels, test_images, test_labels)


def _torchvision_datasets() -> ModuleType:
    from bnrepro.data.torchvision_import import prepare

    prepare()
    from torchvision import datasets

    return datasets


def digits() -> Source:
    """The UCI digits of scikit-learn, read from its file, since importing the package takes seconds."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise DataUnavailable("data=digits: scikit-learn, which bundles them, is not installed")
    table = np.loadtxt(Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",", dtype=np.uint8)
    images = torch.from_numpy(table[:, :-1].copy()).reshape(-1, 1, 8, 8)
    labels = torch.from_numpy(table[:, -1].astype(np.int64))
    order = torch.randperm(len(labels), generator=generator(0, "test", "digits"))
    test, rest = order[:DIGITS_TEST_EXAMPLES], order[DIGITS_TEST_EXAMPLES:]
    return Source("UCI digits", 16, images[rest], labels[rest], images[test], labels[test])
