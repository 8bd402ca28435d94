"""The seeded order of a run's examples, and the augmentation of its mini-batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from bnrepro.config.randomness import generator
from bnrepro.config.schema import AugmentationConfig, Config
from bnrepro.errors import ConfigError


class ExampleOrder:
    """The examples of each mini-batch of a run: a fresh permutation every epoch, which depends only on the seed.

    The order has no state but a cache: mini-batch i does not depend on earlier calls, so that a resumed run needs no
    position. The last, incomplete mini-batch of an epoch is dropped. With ``shuffle=batches`` the mini-batches of the
    first epoch come in a fresh order every epoch, so that the same examples stay together (§4.2.1 warns of it).
    Raises :class:`ConfigError` if a mini-batch is larger than the training set.
    """

    def __init__(self, config: Config, available: int) -> None:
        self.seed, self.batch_size = config.seed, config.batch_size
        wanted = config.data.train_examples or available
        self.subset = torch.randperm(available, generator=generator(self.seed, "subset"))[:wanted]
        if self.batch_size > wanted:
            raise ConfigError(f"batch_size={self.batch_size}: larger than the {wanted} training examples")
        self.batches_per_epoch = wanted // self.batch_size
        self._together = config.shuffle == "batches"
        self._epoch, self._order = -1, self.subset

    def batch(self, index: int) -> Tensor:
        """Positions (batch_size,) of the examples of mini-batch ``index`` = 0, 1, … in the training set."""
        epoch, position = divmod(index, self.batches_per_epoch)
        if epoch != self._epoch:
            if self._together and epoch > 0:
                draw = generator(self.seed, "order of batches", epoch)
                first = self._epoch_order(0)[: self.batches_per_epoch * self.batch_size].view(-1, self.batch_size)
                self._order = first[torch.randperm(len(first), generator=draw)].view(-1)
            else:
                self._order = self._epoch_order(epoch)
            self._epoch = epoch
        start = position * self.batch_size
        return self._order[start : start + self.batch_size]

    def _epoch_order(self, epoch: int) -> Tensor:
        """A fresh permutation of the examples."""
        return self.subset[torch.randperm(len(self.subset), generator=generator(self.seed, "order", epoch))]


class Changes(NamedTuple):
    """What augmentation does to the images of a mini-batch; None where it does nothing.

    ``rows`` (N, height) and ``columns`` (N, width) are where each pixel comes from, in images padded by ``shift``;
    ``contrast`` and ``brightness`` are (N, 1, 1, 1).
    """

    rows: Tensor | None = None
    columns: Tensor | None = None
    contrast: Tensor | None = None
    brightness: Tensor | None = None

    def to(self, device: torch.device | str) -> Changes:
        return Changes(*(None if part is None else part.to(device, non_blocking=True) for part in self))

    @classmethod
    def joined(cls, parts: Sequence[Changes]) -> Changes:
        """The changes of several mini-batches one after another."""
        return cls(*(None if each[0] is None else torch.cat(each) for each in zip(*parts, strict=True)))


def drawn_changes(
    config: AugmentationConfig,
    seed: int,
    step: int,
    count: int,
    height: int,
    width: int,
    rank: int = 0,
    processes: int = 1,
) -> Changes:
    """The changes of mini-batch ``step``: a function of the seed and the step, so that a resumed run needs no state.

    ``count`` is the share of process ``rank``; the number of processes does not change what happens to an image.
    """
    if not (config.flip or config.shift or config.photometric):
        return Changes()
    draw = generator(seed, "augment", step)
    everyone, mine = count * processes, slice(rank * count, (rank + 1) * count)
    rows = torch.arange(height).expand(count, height)
    columns = torch.arange(width).expand(count, width)
    contrast = brightness = None
    if config.flip:
        mirrored = torch.rand(everyone, 1, generator=draw)[mine] < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    if config.shift:
        offsets = torch.randint(0, 2 * config.shift + 1, (2, everyone, 1), generator=draw)[:, mine]
        rows, columns = rows + offsets[0], columns + offsets[1]
    if config.photometric:
        drawn = torch.rand(2, everyone, 1, 1, 1, generator=draw)[:, mine]
        contrast, brightness = (drawn * 2 - 1) * config.photometric
    moved = config.flip or config.shift
    return Changes(rows if moved else None, columns if moved else None, contrast, brightness)


def changed(images: Tensor, changes: Changes, shift: int) -> Tensor:
    """Images (N, channels, height, width) mirrored, shifted by up to ``shift`` pixels (zeros move in), and changed in
    brightness and contrast."""
    if changes.rows is not None and changes.columns is not None:
        if shift:
            images = F.pad(images, [shift] * 4)
        # With channels last, the gather copies whole pixels.
        pixels = images.permute(0, 2, 3, 1)
        example = torch.arange(len(images), device=images.device)[:, None, None]
        images = pixels[example, changes.rows[:, :, None], changes.columns[:, None, :]].permute(0, 3, 1, 2)
    if changes.contrast is not None and changes.brightness is not None:
        mean = images.mean((1, 2, 3), keepdim=True)
        images = (images - mean) * (1 + changes.contrast) + mean + changes.brightness
    return images


def augment(
    images: Tensor, config: AugmentationConfig, seed: int, step: int, rank: int = 0, processes: int = 1
) -> Tensor:
    """Mini-batch ``step`` (N, channels, height, width), augmented: the share of process ``rank``."""
    if not (config.flip or config.shift or config.photometric):
        return images
    count, _, height, width = images.shape
    changes = drawn_changes(config, seed, step, count, height, width, rank, processes)
    return changed(images, changes.to(images.device), config.shift)
