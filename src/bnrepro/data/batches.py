"""The seeded order of a run's examples, and the augmentation of its mini-batches."""

from __future__ import annotations

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


def augment(
    images: Tensor, config: AugmentationConfig, seed: int, step: int, rank: int = 0, processes: int = 1
) -> Tensor:
    """Mini-batch ``step`` (N, channels, height, width) with images mirrored, shifted by up to ``shift`` pixels (zeros
    move in), and changed in brightness and contrast by up to ``photometric``.

    The changes depend only on the seed and the step, on every device, so that a resumed run needs no state. ``images``
    is the share of process ``rank``; the number of processes does not change what happens to an image.
    """
    if not (config.flip or config.shift or config.photometric):
        return images
    draw = generator(seed, "augment", step)
    count, _, height, width = images.shape
    everyone, mine = count * processes, slice(rank * count, (rank + 1) * count)
    rows = torch.arange(height).expand(count, height)
    columns = torch.arange(width).expand(count, width)
    if config.flip:
        mirrored = torch.rand(everyone, 1, generator=draw)[mine] < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    if config.shift:
        offsets = torch.randint(0, 2 * config.shift + 1, (2, everyone, 1), generator=draw)[:, mine]
        rows, columns = rows + offsets[0], columns + offsets[1]
        images = F.pad(images, [config.shift] * 4)
    if config.flip or config.shift:
        # With channels last, the gather copies whole pixels.
        pixels = images.permute(0, 2, 3, 1)
        example = torch.arange(count)[:, None, None].to(images.device)
        rows, columns = rows.to(images.device), columns.to(images.device)
        images = pixels[example, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    if config.photometric:
        spread = config.photometric
        drawn = torch.rand(2, everyone, 1, 1, 1, generator=draw)[:, mine]
        contrast, brightness = ((drawn * 2 - 1) * spread).to(images.device)
        mean = images.mean((1, 2, 3), keepdim=True)
        images = (images - mean) * (1 + contrast) + mean + brightness
    return images
