"""A folder of images too large for memory: read, cropped and mirrored by worker processes, batch by batch."""

from __future__ import annotations

import functools
import hashlib
import itertools
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
from bnrepro.data import image_folder
from bnrepro.data.batches import ExampleOrder
from bnrepro.data.cache import read_array, write_array
from bnrepro.errors import DataError

NO_LABEL = -100
"""The label of an image that could not be read: cross-entropy passes over it."""
MARGIN = 8 / 7
"""At evaluation the shorter side becomes so many times what is cut out of the middle: 256 for 224."""
MOMENTS_FROM = 1000
"""Training images from which each channel's mean and variance are taken: reading all of ImageNet would take hours."""

Key = tuple[int, int | None]
"""An image's place in its split, and the seed of its crop; None for the middle."""


@dataclass(frozen=True)
class ImageFiles:
    """The images of ``folder/<class>/``, in the order of their names, without an object for each of them.

    ``names`` is all of ``class/file`` one after another, ``ends`` where each ends; ``firsts`` the first of each class.
    """

    folder: Path
    names: np.ndarray
    ends: np.ndarray
    firsts: np.ndarray
    digest: str
    """Of all names and sizes: a file that is replaced by another of its name and size goes unseen."""

    def __len__(self) -> int:
        return len(self.ends)

    def path(self, position: int) -> str:
        begin = self.ends[position - 1] if position else 0
        return f"{self.folder}/{os.fsdecode(self.names[begin : self.ends[position]].tobytes())}"

    def label(self, position: int) -> int:
        return int(np.searchsorted(self.firsts, position, side="right")) - 1


def list_files(folder: Path, skip: bool = False) -> ImageFiles:
    """The images below ``folder``, class by class; a link that leads nowhere is one too, if unreadable ones are to be
    passed over. Raises :class:`DataError` as :mod:`image_folder` does."""
    names, lengths, firsts = bytearray(), [np.zeros(0, np.int64)], []
    digest = hashlib.blake2b(digest_size=8)
    for path in image_folder.class_folders(folder):
        entries = image_folder.images_in(path)
        encoded = [os.fsencode(f"{path.name}/{entry.name}") for entry in entries]
        digest.update(b"\n".join(encoded))
        digest.update(np.array([image_folder.size_and_time(entry, skip)[0] for entry in entries], np.int64).tobytes())
        firsts.append(sum(map(len, lengths)))
        names += b"".join(encoded)
        lengths.append(np.array([len(name) for name in encoded], np.int64))
    ends = np.cumsum(np.concatenate(lengths))
    return ImageFiles(folder, np.frombuffer(bytes(names), np.uint8), ends, np.array(firsts), digest.hexdigest())


class Decoder(torch_data.Dataset):
    """What a worker does to an image of a split: (3, size, size) uint8 pixels, the label, the place it was asked for,
    and how many images from there on were unreadable.

    With a seed, a random crop of at least ``crop`` of its area, mirrored half of the times if ``flip``; without one,
    the middle. In training an unreadable image gives way to the split's next; at evaluation it has no label.
    """

    def __init__(self, files: ImageFiles, positions: Tensor, size: int, crop: float, flip: bool) -> None:
        self.files, self.positions, self.size, self.crop, self.flip = files, positions, size, crop, flip

    @functools.cached_property
    def _transforms(self) -> tuple[Callable[[Image.Image], Tensor], Callable[[Image.Image], Tensor]]:
        """Random and middle; made where they are used, since a worker may have to import torchvision itself."""
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
        random, middle = self._transforms
        # Where nothing can be read the search ends at the image it began with.
        tries = len(self.positions) if draw is not None else 1
        for unreadable in range(tries):
            position = int(self.positions[(place + unreadable) % len(self.positions)])
            try:
                image = image_folder.decode(self.files.path(position))
            except DataError:
                continue
            if draw is None:
                return middle(image), self.files.label(position), place, unreadable
            # The transforms draw from the global generator, which belongs to the layers where there are no workers.
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(draw)
                return random(image), self.files.label(position), place, unreadable
        return torch.zeros(3, self.size, self.size, dtype=torch.uint8), NO_LABEL, place, tries


@dataclass(frozen=True)
class ShareOfBatches:
    """Endless mini-batches from number ``first`` on: this process's share of each, with the seed of every crop."""

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
    """The images at ``positions`` among ``files``, as (channels, size, size) once they are read.

    ``skip`` passes over unreadable images, and keeps their paths in ``unreadable``; else the first one raises
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
        """The same images for a run of its own, as they are to come out."""
        mean, std = self.mean.to(device, dtype), self.std.to(device, dtype)
        return replace(self, mean=mean, std=std, dtype=dtype, memory_format=memory_format, unreadable=set())

    def at(self, places: Tensor) -> StreamedSplit:
        """The examples at these places of the split, as they are evaluated."""
        return replace(self, positions=self.positions[places.cpu()])

    def sample(self, count: int) -> Tensor:
        """The first ``count`` images, read by this process; black where one is unreadable."""
        [(images, _)] = self._read([[(place, None) for place in range(min(count, len(self)))]], 0)
        return images

    def chunks(self, size: int, first: int = 0, every: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """Images, each the middle of a photograph, and labels: of the chunks of ``size``, each ``every``-th."""
        chunks = [range(begin, min(begin + size, len(self))) for begin in range(0, len(self), size)][first::every]
        return self._read(([(place, None) for place in chunk] for chunk in chunks), self.workers)

    def training_batches(self, batches: ShareOfBatches, flip: bool) -> Iterator[tuple[Tensor, Tensor]]:
        """Images, each a random crop, and labels. Raises :class:`DataError` if not one image can be read."""
        return self._read(batches, self.workers, flip)

    def _read(self, batches: Iterable[list[Key]], workers: int, flip: bool = False) -> Iterator[tuple[Tensor, Tensor]]:
        loader = torch_data.DataLoader(
            Decoder(self.files, self.positions, self.size, self.crop, flip),
            batch_sampler=batches,  # type: ignore[arg-type]
            num_workers=workers,
            pin_memory=self.device.type == "cuda",
            # Else the workers' seeds would be drawn from the generator that belongs to the layers.
            generator=torch.Generator(),
        )
        for pixels, labels, places, unreadable in loader:
            for index in unreadable.nonzero().flatten().tolist():
                self._note(int(places[index]), int(unreadable[index]))
            if (unreadable == len(self)).any() and len(self) > 1:  # looked for in the whole split
                raise DataError(f"{self.files.folder}: not one of {len(self):,} images can be read")
            images = pixels.to(self.device, non_blocking=True).to(self.dtype, memory_format=self.memory_format)
            yield images.div_(255).sub_(self.mean).div_(self.std), labels.to(self.device, non_blocking=True)

    def _note(self, place: int, count: int) -> None:
        """``count`` images from ``place`` on were unreadable."""
        for index in range(place, place + count):
            path = self.files.path(int(self.positions[index % len(self)]))
            if not self.skip:
                image_folder.decode(path)  # says what is wrong with it
                raise DataError(f"{path} could not be read a moment ago, and can now: is its disk failing?")
            self.unreadable.add(path)


def load(
    root: str | None, title: str | None, size: int, crop: float, skip: bool, workers: int
) -> tuple[str, StreamedSplit, StreamedSplit, list[str], str]:
    """All training and all test images, the names of the classes, the label and the fingerprint of the data.

    Raises as :func:`image_folder.load`, but for unreadable images, which show when they are read.
    """
    folder = image_folder.find(root)
    parts = image_folder.train_and_test(folder)
    listed = [list_files(part, skip) for part in parts]
    splits = [StreamedSplit(files, torch.arange(len(files)), size, crop, skip, workers) for files in listed]
    names = [path.name for path in image_folder.class_folders(parts[0])]
    fingerprint = hashlib.blake2b("".join(files.digest for files in listed).encode(), digest_size=8).hexdigest()
    return title or folder.name, splits[0], splits[1], names, fingerprint


def moments(split: StreamedSplit, fingerprint: str) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (1, 3, 1, 1) of the pixels / 255 of a fixed part of ``split``: measured once."""
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
            raise DataError(f"{split.files.folder}: not one of {len(chosen)} images can be read")
        mean = total / pixels
        deviation = (squares / pixels - mean.square()).clamp(min=1e-12).sqrt()
        write_array(cached, torch.stack([mean, deviation]).numpy())
    try:
        mean, deviation = torch.from_numpy(read_array(cached)).float().view(2, 1, 3, 1, 1)
    except ValueError as error:
        raise DataError(f"the cache {cached} is damaged ({error}): delete it, it is made anew") from error
    return mean, deviation
