"""Data sets: training, validation and test split, and a fingerprint."""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from bnrepro.config.randomness import generator
from bnrepro.config.schema import DataConfig
from bnrepro.data import image_folder, sources, streaming
from bnrepro.data.sources import Source
from bnrepro.data.streaming import StreamedSplit
from bnrepro.errors import ConfigError


@dataclass(frozen=True)
class Split:
    """Images (N, channels, height, width) float32, in [0, 1] unless standardised, and labels (N,) int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: str, dtype: torch.dtype, memory_format: torch.memory_format = torch.preserve_format) -> Split:
        """The split on a device, its images in this type and memory format."""
        return Split(self.images.to(device, dtype, memory_format=memory_format), self.labels.to(device))

    @property
    def example_shape(self) -> tuple[int, ...]:
        return tuple(self.images.shape[1:])

    @property
    def device(self) -> torch.device:
        return self.labels.device

    def at(self, places: Tensor) -> Split:
        """The examples at these places (n,)."""
        places = places.to(self.device)
        return Split(self.images[places], self.labels[places])

    def sample(self, count: int) -> Tensor:
        """The first ``count`` images."""
        return self.images[:count]

    def chunks(self, size: int, first: int = 0, every: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and labels of every ``every``-th chunk of ``size`` examples, from chunk ``first`` on."""
        chunks = zip(self.images.split(size), self.labels.split(size), strict=True)
        return itertools.islice(chunks, first, None, every)


AnySplit = Split | StreamedSplit


def part_of(split: AnySplit, count: int, name: str) -> AnySplit:
    """``count`` examples drawn by ``name``, the same for every run; all of them for 0."""
    if count == 0 or count >= len(split):
        return split
    return split.at(torch.randperm(len(split), generator=generator(0, "part", name))[:count])


S = TypeVar("S", Split, StreamedSplit)


@dataclass(frozen=True)
class _Splits(Generic[S]):
    """``label`` is the name of the data in figures and tables; ``unreadable`` are the paths of skipped images."""

    label: str
    train: S
    validation: S
    test: S
    classes: int
    fingerprint: str
    unreadable: tuple[str, ...] = ()


class Dataset(_Splits[Split]):
    """A data set in memory."""


class StreamedDataset(_Splits[StreamedSplit]):
    """A data set that is read from disk when it is needed."""


AnyDataset = Dataset | StreamedDataset


def load(config: DataConfig) -> Dataset:
    """The data set of ``config`` in memory, cached for the next run of this process.

    Raises :class:`DataUnavailable` if it cannot be found or downloaded, :class:`DataError` if its files are damaged,
    :class:`ConfigError` if it is too small for the splits, or has to be streamed.
    """
    if config.stream:
        raise ConfigError("data.stream=true: this needs its images in memory")
    return _load(replace(config, workers=0))


def open_dataset(config: DataConfig) -> AnyDataset:
    """As :func:`load`; a streamed data set for ``data.stream=true``."""
    return _stream(replace(config)) if config.stream else load(config)


@functools.lru_cache(maxsize=2)
def _load(config: DataConfig) -> Dataset:
    source = _source(config)
    kept, held_out = _divided(config, source.label, len(source.labels))
    digest = hashlib.blake2b(digest_size=8)
    for tensor in (source.images, source.labels, source.test_images, source.test_labels):
        digest.update(tensor.contiguous().numpy().tobytes())
    images, test_images = (_enlarged(tensor, config.enlarge) for tensor in (source.images, source.test_images))
    scale = _scale(images[kept], source.white, config.threshold, config.standardize)

    return Dataset(
        label=source.label if config.threshold is None else f"{source.label}, binary",
        train=Split(scale(images[kept]), source.labels[kept]),
        validation=Split(scale(images[held_out]), source.labels[held_out]),
        test=Split(scale(test_images), source.test_labels),
        classes=source.classes,
        fingerprint=digest.hexdigest(),
        unreadable=source.unreadable,
    )


@functools.lru_cache(maxsize=1)
def _stream(config: DataConfig) -> StreamedDataset:
    if config.name != "image_folder" or config.threshold is not None or config.enlarge:
        raise ConfigError(
            "data.stream=true reads data=image_folder; data.threshold and data.enlarge are for images in memory"
        )
    label, everything, test, fingerprint = streaming.load(config)
    kept, held_out = _divided(config, label, len(everything))
    if config.standardize:
        mean, std = streaming.moments(everything.at(kept), fingerprint)
        everything, test = replace(everything, mean=mean, std=std), replace(test, mean=mean, std=std)
    train, validation = everything.at(kept), everything.at(held_out)
    return StreamedDataset(label, train, validation, test, everything.files.classes, fingerprint)


def _divided(config: DataConfig, label: str, available: int) -> tuple[Tensor, Tensor]:
    """Places of the training and of the validation examples among the ``available`` ones."""
    validation, train = config.validation_examples, config.train_examples
    if validation >= available:
        raise ConfigError(
            f"data.validation_examples={validation}: {label} has {available} in all, to train and to validate. "
            f"Choose fewer, as with data.validation_examples={max(available // 10, 1)}"
        )
    left = available - validation
    if train is not None and train > left:
        raise ConfigError(
            f"data.train_examples={train}: {label} has {left} besides the validation set. Choose fewer, or all of them "
            "with data.train_examples=null"
        )
    order = torch.randperm(available, generator=generator(0, "split", config.name))
    return order[:left], order[left:]


def _source(config: DataConfig) -> Source:
    if config.name == "image_folder":
        return image_folder.load(config.root, config.title, config.unreadable == "skip")
    return getattr(sources, config.name)()


def _scale(images: Tensor, white: int, threshold: float | None, standardize: bool) -> Callable[[Tensor], Tensor]:
    """The function from uint8 images to the network's input.

    A ``threshold`` makes it binary; else it is within [0, 1], or ``standardize`` gives each channel mean 0 and variance
    1 over the training ``images``. Colour images become channels last, with which convolutions are faster.
    """
    if threshold is not None:
        return lambda raw: (raw >= threshold * white).float()
    mean, std = _moments(images, white) if standardize else (torch.zeros(1), torch.ones(1))

    def scaled(raw: Tensor) -> Tensor:
        layout = torch.channels_last if raw.shape[1] > 1 else torch.contiguous_format
        return raw.to(torch.float32, memory_format=layout).div_(white).sub_(mean).div_(std)

    return scaled


def _moments(images: Tensor, white: int) -> tuple[Tensor, Tensor]:
    """Exact mean and standard deviation (1, channels, 1, 1) of the pixels / ``white``, from counts of their values."""
    values = torch.arange(256, dtype=torch.float64) / white
    counts = torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in images.unbind(1)]).double()
    counts /= counts.sum(1, keepdim=True)
    mean = counts @ values
    variance = (counts @ values.square() - mean.square()).clamp(min=1e-12)
    return mean.float().view(1, -1, 1, 1), variance.sqrt().float().view(1, -1, 1, 1)


def _enlarged(images: Tensor, size: int) -> Tensor:
    """Images of ``size`` × ``size`` with three channels, so that small grey ones can replace colour photographs."""
    if size == 0:
        return images
    larger = F.interpolate(images.float(), (size, size), mode="bilinear", align_corners=False)
    return larger.round().to(torch.uint8).expand(-1, 3, -1, -1).contiguous()
