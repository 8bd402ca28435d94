"""The original data sets: found on this disk, downloaded, or bundled. All files are checked."""

from __future__ import annotations

import hashlib
import importlib.util
import tarfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from bnrepro import store
from bnrepro.config.randomness import generator
from bnrepro.data.download import download, staged
from bnrepro.data.mnist import MNIST_FILES, find_mnist, read
from bnrepro.data.places import data_folders, reading
from bnrepro.errors import DataError, DataUnavailable

CIFAR10_FOLDER = "cifar-10-batches-py"
CIFAR10_ARCHIVE, CIFAR10_MD5 = "cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"
DIGITS_TEST_EXAMPLES = 360


@dataclass(frozen=True)
class Source:
    """An original data set: images (N, channels, height, width) uint8 from 0 to ``white``, labels (N,) int64.

    ``label`` is its name in figures and tables, ``classes`` the number of classes, also of those without an image here;
    ``unreadable`` are the paths of skipped images.
    """

    label: str
    white: int
    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    classes: int
    unreadable: tuple[str, ...] = ()


def mnist() -> Source:
    """MNIST (LeCun et al. 1998). Raises :class:`DataUnavailable` or :class:`DataError`."""
    files = find_mnist() or _downloaded_mnist()
    train_images, train_labels, test_images, test_labels = (
        torch.from_numpy(read(files[name], md5).copy()) for name, md5 in MNIST_FILES.items()
    )
    images, test_images = train_images.unsqueeze(1), test_images.unsqueeze(1)
    return Source("MNIST", 255, images, train_labels.long(), test_images, test_labels.long(), 10)


def _downloaded_mnist() -> dict[str, Path]:
    download(
        "MNIST",
        lambda folder: _torchvision_datasets().MNIST(str(folder), download=True),
        f"Put the four files, compressed or not, into {store.data_folder() / 'MNIST' / 'raw'}, or use the bundled "
        "data: data=digits.",
    )
    found = find_mnist()
    if found is None:
        raise DataError(
            f"the download of MNIST has left none in {store.data_folder()}: does another process delete it?"
        )
    return found


def cifar10() -> Source:
    """CIFAR-10 (Krizhevsky 2009), whose files torchvision checks. Raises as :func:`mnist`."""
    root = _find_cifar10()
    if root is None:
        download(
            "CIFAR-10",
            lambda folder: _torchvision_datasets().CIFAR10(str(folder), download=True),
            f"Put the folder {CIFAR10_FOLDER}, or the archive {CIFAR10_ARCHIVE}, into {store.data_folder()}.",
        )
        root = store.data_folder()
    datasets = _torchvision_datasets()
    try:
        with reading(root / CIFAR10_FOLDER):
            parts = [datasets.CIFAR10(str(root), train=part, download=False) for part in (True, False)]
    except RuntimeError as error:
        folder = root / CIFAR10_FOLDER
        raise DataError(f"{folder} is incomplete or altered ({error}). Delete it and run again.") from error
    images, test_images = (torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous() for part in parts)
    labels, test_labels = (torch.tensor(part.targets) for part in parts)
    return Source("CIFAR-10", 255, images, labels, test_images, test_labels, 10)


def _find_cifar10() -> Path | None:
    """The folder that holds :data:`CIFAR10_FOLDER`: data/, if only the archive of it was found; else None."""
    for root in data_folders():
        with reading(root):
            if root.name == CIFAR10_FOLDER and root.is_dir():
                return root.parent
            if (root / CIFAR10_FOLDER).is_dir():
                return root
            archived = (root / CIFAR10_ARCHIVE).is_file()
        if archived and not (store.data_folder() / CIFAR10_FOLDER).is_dir():
            _unpack(root / CIFAR10_ARCHIVE)
    return store.data_folder() if (store.data_folder() / CIFAR10_FOLDER).is_dir() else None


def _unpack(archive: Path) -> None:
    """Unpack CIFAR-10 into data/. Raises :class:`DataError` if the archive is damaged, or there is no room for it."""
    with reading(archive), archive.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != CIFAR10_MD5:
        raise DataError(
            f"{archive} is truncated or altered (MD5 {found}, expected {CIFAR10_MD5}). Delete it, and run again to "
            "download it."
        )
    try:
        with staged() as folder, tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    except OSError as error:
        raise DataError(
            f"{archive} cannot be unpacked into {store.data_folder()} ({error.strerror or error}): tar -xzf {archive} "
            "-C FOLDER, and name FOLDER in BNREPRO_DATA"
        ) from error


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
    return Source("UCI digits", 16, images[rest], labels[rest], images[test], labels[test], 10)
