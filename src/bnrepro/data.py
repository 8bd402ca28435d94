"""A data set as tensors in memory, its fingerprint, and the seeded order in which a run sees its examples."""

from __future__ import annotations

import functools
import hashlib
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from urllib.error import URLError

import torch
from torch import Tensor

from bnrepro import store
from bnrepro.config import Config, DataConfig
from bnrepro.errors import ConfigError, DataError, DataUnavailable
from bnrepro.randomness import derive_seed, generator

# MD5 of the four uncompressed files, as the originals have them.
MNIST_FILES = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
DOWNLOAD_TIMEOUT_S = 20
DIGITS_TEST_EXAMPLES = 360


@dataclass(frozen=True)
class Split:
    """Images (N, channels, height, width) float32 in [0, 1], and labels (N,) int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: str, dtype: torch.dtype) -> Split:
        return Split(self.images.to(device, dtype), self.labels.to(device))


@dataclass(frozen=True)
class Dataset:
    """Training, validation and test examples. ``label`` is how figures and tables name the data."""

    label: str
    train: Split
    validation: Split
    test: Split
    classes: int
    fingerprint: str


def load(config: DataConfig) -> Dataset:
    """The data set of ``config``, kept in memory for the next run of this process.

    Raises :class:`DataUnavailable` if it is nowhere to be had, :class:`DataError` if its files are damaged,
    :class:`ConfigError` if the splits asked for do not fit it.
    """
    return _load(**asdict(config))


@functools.lru_cache(maxsize=2)
def _load(name: str, threshold: float | None, validation_examples: int, train_examples: int | None) -> Dataset:
    source = {"mnist": _mnist, "digits": _digits}[name]()
    available, label = len(source.labels), source.label
    if validation_examples >= available:
        raise ConfigError(f"data.validation_examples={validation_examples}: {label} has {available} in all")
    left = available - validation_examples
    if train_examples is not None and train_examples > left:
        raise ConfigError(f"data.train_examples={train_examples}: {label} has {left} besides the validation set")
    order = torch.randperm(available, generator=generator(0, "split", name))
    kept, held_out = order[:left], order[left:]
    digest = hashlib.blake2b(digest_size=8)
    for tensor in (source.images, source.labels, source.test_images, source.test_labels):
        digest.update(tensor.contiguous().numpy().tobytes())

    def split(images: Tensor, labels: Tensor) -> Split:
        if threshold is None:
            return Split(images.float() / source.white, labels)
        return Split((images >= threshold * source.white).float(), labels)

    return Dataset(
        label=label if threshold is None else f"{label}, binary",
        train=split(source.images[kept], source.labels[kept]),
        validation=split(source.images[held_out], source.labels[held_out]),
        test=split(source.test_images, source.test_labels),
        classes=int(source.labels.max()) + 1,
        fingerprint=digest.hexdigest(),
    )


# ------------------------------------------------------------------------------------------------- sources


@dataclass(frozen=True)
class Source:
    """A data set as it comes: images (N, channels, height, width) uint8 from 0 to ``white``, labels (N,) int64."""

    label: str
    white: int
    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor


def _mnist() -> Source:
    root = find_mnist() or _download_mnist()
    for name, expected in MNIST_FILES.items():
        path = root / "MNIST" / "raw" / name
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "md5").hexdigest()
        if found != expected:
            raise DataError(
                f"{path} is truncated or altered (MD5 {found}, expected {expected}). "
                f"Delete it, or the folder {path.parent}, and run again to fetch it anew."
            )
    datasets = _torchvision_datasets()
    train, test = (datasets.MNIST(str(root), train=part, download=False) for part in (True, False))
    return Source("MNIST", 255, train.data.unsqueeze(1), train.targets, test.data.unsqueeze(1), test.targets)


def find_mnist() -> Path | None:
    """The folder that holds ``MNIST/raw``: of $BNREPRO_DATA and data/ the first that has any file of it."""
    for root in _data_folders():
        raw = root / "MNIST" / "raw"
        present = [name for name in MNIST_FILES if (raw / name).is_file()]
        if len(present) == len(MNIST_FILES):
            return root
        if present and root != store.data_folder():
            missing = ", ".join(sorted(set(MNIST_FILES) - set(present)))
            raise DataError(f"{raw} is incomplete: {missing} missing. Complete it, or unset BNREPRO_DATA.")
    return None


def _data_folders() -> list[Path]:
    named = os.environ.get("BNREPRO_DATA")
    return [*([Path(named)] if named else []), store.data_folder()]


def _download_mnist() -> Path:
    root = store.data_folder()
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_S)
    try:
        _torchvision_datasets().MNIST(str(root), download=True)
    except (URLError, OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise DataUnavailable(
            f"MNIST is neither in $BNREPRO_DATA nor in {root}, and could not be downloaded ({reason}). "
            f"Put the four uncompressed files into {root / 'MNIST' / 'raw'}, or use the bundled data: data=digits."
        ) from error
    finally:
        socket.setdefaulttimeout(before)
    return root


def _torchvision_datasets() -> ModuleType:
    from bnrepro.torchvision_import import prepare

    prepare()
    from torchvision import datasets

    return datasets


def _digits() -> Source:
    from sklearn.datasets import load_digits

    features, target = load_digits(return_X_y=True)
    images = torch.as_tensor(features).to(torch.uint8).reshape(-1, 1, 8, 8)
    labels = torch.as_tensor(target).long()
    order = torch.randperm(len(labels), generator=generator(0, "test", "digits"))
    test, rest = order[:DIGITS_TEST_EXAMPLES], order[DIGITS_TEST_EXAMPLES:]
    return Source("UCI digits", 16, images[rest], labels[rest], images[test], labels[test])


# --------------------------------------------------------------------------------------------------- order


class ExampleOrder:
    """Which examples make mini-batch i of a run: a fresh permutation every epoch, a function of the seed alone.

    Stateless but for a cache: batch i is the same whether or not the batches before it were asked for, so a resumed
    run needs no position. The last, incomplete mini-batch of an epoch is dropped.
    Raises :class:`ConfigError` if one mini-batch is larger than the training set.
    """

    def __init__(self, config: Config, available: int) -> None:
        self.seed, self.batch_size = config.seed, config.batch_size
        wanted = config.data.train_examples or available
        self.subset = torch.randperm(available, generator=generator(self.seed, "subset"))[:wanted]
        if self.batch_size > wanted:
            raise ConfigError(f"batch_size={self.batch_size}: larger than the {wanted} training examples")
        self.batches_per_epoch = wanted // self.batch_size
        self._epoch, self._order = -1, self.subset

    def batch(self, index: int) -> Tensor:
        """Positions (batch_size,) in the training set of mini-batch ``index`` = 0, 1, …"""
        epoch, position = divmod(index, self.batches_per_epoch)
        if epoch != self._epoch:
            seed = derive_seed(self.seed, "order", epoch)
            order = torch.randperm(len(self.subset), generator=torch.Generator().manual_seed(seed))
            self._epoch, self._order = epoch, self.subset[order]
        start = position * self.batch_size
        return self._order[start : start + self.batch_size]
