"""An image folder that is too large for memory: worker processes read, crop and mirror each batch."""

from __future__ import annotations

import functools
import hashlib
import itertools
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils import data as torch_data

from bnrepro import store
from bnrepro.config.randomness import derive_seed, generator
from bnrepro.config.schema import DataConfig
from bnrepro.data import decoding
from bnrepro.data.batches import ExampleOrder
from bnrepro.data.cache import read_array, write_array
from bnrepro.data.listing import (
    PassedOver,
    class_folders,
    find,
    images_in,
    none_readable,
    size_and_time,
    train_and_test,
)
from bnrepro.data.places import shown
from bnrepro.data.worker_failures import from_workers
from bnrepro.errors import DataError

NO_LABEL = -100
"""The label of an unreadable image: cross-entropy ignores it."""
MARGIN = 8 / 7
"""Shorter side of an image before the centre crop of evaluation, relative to the crop: 256 for 224."""
MOMENTS_FROM = 1000
"""Training images for the mean and variance of each channel: reading all of ImageNet would take hours."""
Key = tuple[int, int | None]
"""Place of an image in its split, and the seed of its random crop; None for the centre crop."""


@dataclass(frozen=True)
class ImageFiles:
    """The images of ``folder/<class>/``, sorted by name, without a Python object for each.

    ``names`` (bytes,) concatenates every ``class/file``, ``ends`` (images,) are their ends in it, and ``firsts``
    (classes,) the positions of the first image of each class.
    """

    folder: Path
    names: np.ndarray
    ends: np.ndarray
    firsts: np.ndarray
    digest: str
    """Of names and sizes: a replaced file with the same name and size is not noticed."""

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def classes(self) -> int:
        return len(self.firsts)

    def path(self, position: int) -> str:
        begin = self.ends[position - 1] if position else 0
        return f"{self.folder}/{os.fsdecode(self.names[begin : self.ends[position]].tobytes())}"

    def label(self, position: int) -> int:
        return int(np.searchsorted(self.firsts, position, side="right")) - 1


def list_files(folder: Path, passed: PassedOver, skip: bool = False) -> ImageFiles:
    """The images below ``folder``, class by class; the rest goes to ``passed``.

    Raises :class:`DataError` as :mod:`listing` does. With ``skip``, broken links count as images: they are unreadable
    like others.
    """
    names, lengths, firsts = bytearray(), [], []
    digest = hashlib.blake2b(digest_size=8)
    for path in class_folders(folder, passed):
        entries = images_in(path, passed)
        encoded = [os.fsencode(f"{path.name}/{entry.name}") for entry in entries]
        digest.update(b"\n".join(encoded))
        digest.update(np.array([size_and_time(entry, skip)[0] for entry in entries], np.int64).tobytes())
        firsts.append(sum(map(len, lengths)))
        names += b"".join(encoded)
        lengths.append(np.array([len(name) for name in encoded], np.int64))
    ends = np.cumsum(np.concatenate(lengths))
    return ImageFiles(folder, np.frombuffer(bytes(names), np.uint8), ends, np.array(firsts), digest.hexdigest())


class Decoder(torch_data.Dataset):
    """The work on one image in a worker: pixels (3, size, size) uint8, label, requested place in the split, and the
    number of unreadable images from there on.

    A key with a seed gives a random crop of at least ``crop`` of the area, mirrored with probability 1/2 if ``flip``; a
    key without one, the centre crop. In training, the next image of the split replaces an unreadable one; in evaluation
    an unreadable one has no label.
    """

    def __init__(self, files: ImageFiles, positions: Tensor, size: int, crop: float, flip: bool) -> None:
        self.files, self.positions, self.size, self.crop, self.flip = files, positions, size, crop, flip

    @functools.cached_property
    def _transforms(self) -> tuple[Callable[[Image.Image], Tensor], Callable[[Image.Image], Tensor]]:
        """Random and centre crop; made in the worker, which may have to import torchvision itself."""
        from bnrepro.data.torchvision_import import prepare

        prepare()
        from torchvision.transforms import v2

        mirror = [v2.RandomHorizontalFlip()] if self.flip else []
        return (
            v2.Compose([v2.RandomResizedCrop(self.size, scale=(self.crop, 1.0)), *mirror, v2.PILToTensor()]),
            v2.Compose([v2.Resize(round(self.size * MARGIN)), v2.CenterCrop(self.size), v2.PILToTensor()]),
        )

    def __getitem__(self, key: Key) -> tuple[Tensor, int, int, int]:
        place, draw = key
        random, centre = self._transforms
        # If no image can be read, the search ends where it began.
        tries = len(self.positions) if draw is not None else 1
        for unreadable in range(tries):
            position = int(self.positions[(place + unreadable) % len(self.positions)])
            try:
                image = decoding.decode(self.files.path(position))
            except DataError:
                continue
            if draw is None:
                return centre(image), self.files.label(position), place, unreadable
            # The transforms draw from the global generator, which belongs to the layers if there are no workers.
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(draw)
                return random(image), self.files.label(position), place, unreadable
        return torch.zeros(3, self.size, self.size, dtype=torch.uint8), NO_LABEL, place, tries


@dataclass(frozen=True)
class ShareOfBatches:
    """Endless mini-batches from ``first`` on: the keys of this process's ``share`` examples of each."""

    order: ExampleOrder
    seed: int
    first: int
    share: int
    rank: int

    def __iter__(self) -> Iterator[list[Key]]:
        begin = self.rank * self.share
        for step in itertools.count(self.first):
            chosen = self.order.batch(step)[begin : begin + self.share].tolist()
            yield [(place, derive_seed(self.seed, "augment", step, index)) for index, place in enumerate(chosen, begin)]


@dataclass(frozen=True)
class StreamedSplit:
    """The images at ``positions`` among ``files``, read when they are needed, as (3, size, size).

    With ``skip``, unreadable images are skipped and their paths kept in ``unreadable``; else the first one raises
    :class:`DataError`. ``mean`` and ``std`` (1, 3, 1, 1) standardise the pixels / 255.
    """

    files: ImageFiles
    positions: Tensor
    size: int
    crop: float
    skip: bool
    workers: int
    mean: Tensor = field(default_factory=lambda: torch.zeros(1, 3, 1, 1))
    std: Tensor = field(default_factory=lambda: torch.ones(1, 3, 1, 1))
    dtype: torch.dtype = torch.float32
    memory_format: torch.memory_format = torch.channels_last
    unreadable: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def example_shape(self) -> tuple[int, ...]:
        return (3, self.size, self.size)

    @property
    def device(self) -> torch.device:
        return self.mean.device

    def to(
        self, device: str, dtype: torch.dtype, memory_format: torch.memory_format = torch.channels_last
    ) -> StreamedSplit:
        """The same images for one run, on this device, in this type and memory format."""
        mean, std = self.mean.to(device, dtype), self.std.to(device, dtype)
        return replace(self, mean=mean, std=std, dtype=dtype, memory_format=memory_format, unreadable=set())

    def at(self, places: Tensor) -> StreamedSplit:
        """The examples at these places (n,) of the split."""
        return replace(self, positions=self.positions[places.cpu()])

    def sample(self, count: int) -> Tensor:
        """The first ``count`` images, read by this process; an unreadable one is black."""
        [(images, _)] = self._read([[(place, None) for place in range(min(count, len(self)))]], 0)
        return images

    def chunks(self, size: int, first: int = 0, every: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """Centre crops and labels of every ``every``-th chunk of ``size`` examples, from chunk ``first`` on."""
        chunks = [range(begin, min(begin + size, len(self))) for begin in range(0, len(self), size)][first::every]
        return self._read(([(place, None) for place in chunk] for chunk in chunks), self.workers)

    def training_batches(self, batches: ShareOfBatches, flip: bool) -> Iterator[tuple[Tensor, Tensor]]:
        """Random crops and labels. Raises :class:`DataError` if no image can be read."""
        return self._read(batches, self.workers, flip)

    def _read(self, batches: Iterable[list[Key]], workers: int, flip: bool = False) -> Iterator[tuple[Tensor, Tensor]]:
        loader = torch_data.DataLoader(
            Decoder(self.files, self.positions, self.size, self.crop, flip),
            batch_sampler=batches,  # type: ignore[arg-type]
            # A process of a sweep may have none of its own, and the other cores are busy with other runs.
            num_workers=0 if multiprocessing.current_process().daemon else workers,
            pin_memory=self.device.type == "cuda",
            # By default the seeds of the workers are drawn from the generator that belongs to the layers.
            generator=torch.Generator(),
        )
        for pixels, labels, places, unreadable in from_workers(loader):
            for index in unreadable.nonzero().flatten().tolist():
                self._note(int(places[index]), int(unreadable[index]))
            if (unreadable == len(self)).any() and len(self) > 1:  # after a search through the whole split
                raise none_readable(self.files.folder, len(self))
            images = pixels.to(self.device, non_blocking=True).to(self.dtype, memory_format=self.memory_format)
            yield images.div_(255).sub_(self.mean).div_(self.std), labels.to(self.device, non_blocking=True)

    def _note(self, place: int, count: int) -> None:
        """Note ``count`` unreadable images from ``place`` on. Raises :class:`DataError` unless they are skipped."""
        for index in range(place, place + count):
            path = self.files.path(int(self.positions[index % len(self)]))
            if not self.skip:
                decoding.decode(path)  # raises with the reason
                raise DataError(f"{shown(path)} could not be read a moment ago, but can be now: is the disk failing?")
            self.unreadable.add(shown(path))


def load(config: DataConfig) -> tuple[str, StreamedSplit, StreamedSplit, str]:
    """The label of the data, all training images, all test images, and the fingerprint.

    Raises as :func:`image_folder.load`, except for unreadable images, which are found when they are read. If they are
    skipped, a class without a readable one is found here, and not in the middle of the training.
    """
    folder, skip = find(config.root), config.unreadable == "skip"
    passed = PassedOver(folder)
    listed = [list_files(part, passed, skip) for part in train_and_test(folder)]
    passed.tell()
    if skip:
        for files in listed:
            _require_every_class(files)
    train, test = (
        StreamedSplit(files, torch.arange(len(files)), config.image_size, config.crop, skip, config.workers)
        for files in listed
    )
    fingerprint = hashlib.blake2b("".join(files.digest for files in listed).encode(), digest_size=8).hexdigest()
    return config.title or shown(folder.name), train, test, fingerprint


def _require_every_class(files: ImageFiles) -> None:
    """Raise :class:`DataError` for a class of which no image can be read."""
    for first, stop in itertools.pairwise([*files.firsts.tolist(), len(files)]):
        if not any(_readable(files.path(position)) for position in range(first, stop)):
            raise none_readable(Path(files.path(first)).parent, stop - first)


def _readable(path: str) -> bool:
    try:
        decoding.decode(path)
    except DataError:
        return False
    return True


def moments(split: StreamedSplit, fingerprint: str) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (1, 3, 1, 1) of the pixels / 255, from a fixed part of ``split``; cached on disk."""
    cached = store.outputs_folder() / "cache" / f"moments-{fingerprint}-{len(split)}-{split.size}.npy"
    if not cached.exists():
        chosen = torch.randperm(len(split), generator=generator(0, "moments"))[:MOMENTS_FROM]
        total, squares, pixels = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64), 0
        for images, labels in split.at(chosen).chunks(50):
            readable = images[labels != NO_LABEL].double()
            total += readable.sum((0, 2, 3))
            squares += readable.square().sum((0, 2, 3))
            pixels += readable[:, 0].numel()
        if not pixels:
            raise none_readable(split.files.folder, len(chosen))
        mean = total / pixels
        deviation = (squares / pixels - mean.square()).clamp(min=1e-12).sqrt()
        write_array(cached, torch.stack([mean, deviation]).numpy())
    mean, deviation = torch.from_numpy(read_array(cached)).float().view(2, 1, 3, 1, 1)
    return mean, deviation
