"""The seeded order in which a run sees its examples."""

from __future__ import annotations

import torch
from torch import Tensor

from bnrepro.config.randomness import derive_seed, generator
from bnrepro.config.schema import Config
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
