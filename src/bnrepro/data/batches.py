"""The mini-batches of a run: the seeded order of its examples, and their augmentation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bnrepro.config.randomness import derive_seed, generator
from bnrepro.config.schema import AugmentationConfig, Config
from bnrepro.errors import ConfigError


class ExampleOrder:
    """Which examples make mini-batch i of a run: a fresh permutation every epoch, a function of the seed alone.

    Stateless but for a cache: batch i is the same whether or not the batches before it were asked for, so a resumed
    run needs no position. The last, incomplete mini-batch of an epoch is dropped. With ``shuffle=batches`` the same
    examples stay together: the mini-batches of the first epoch, in a fresh order every epoch (§4.2.1 warns of it).
    Raises :class:`ConfigError` if one mini-batch is larger than the training set.
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
        """Positions (batch_size,) in the training set of mini-batch ``index`` = 0, 1, …"""
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
        draw = torch.Generator().manual_seed(derive_seed(self.seed, "order", epoch))
        return self.subset[torch.randperm(len(self.subset), generator=draw)]


def augment(
    images: Tensor, config: AugmentationConfig, seed: int, step: int, rank: int = 0, processes: int = 1
) -> Tensor:
    """Mini-batch ``step`` (N, channels, height, width) as the network is to see it: some of it mirrored, shifted by
    up to ``shift`` pixels (zeros move in), and with brightness and contrast changed by up to ``photometric``.

    A function of the seed and the step alone, on every device: a resumed run needs no state of it. Where several
    processes share a mini-batch, ``images`` is the part of process ``rank``, and meets what it meets in the whole.
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
        # Channels last, the gather is one copy of rows of pixels.
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
