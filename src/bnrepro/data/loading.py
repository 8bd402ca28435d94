"""The mini-batches of training: gathered in memory, or read from disk ahead of time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from bnrepro.config.schema import Config
from bnrepro.data.batches import ExampleOrder, augment
from bnrepro.data.sets import AnySplit, Split
from bnrepro.data.streaming import ShareOfBatches, StreamedSplit


class Batches(Protocol):
    """A source of mini-batches for training."""

    def between(self, first: int, stop: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and labels of this process's share of the mini-batches ``first`` … ``stop`` − 1, in order."""
        ...


def open_batches(config: Config, split: AnySplit, order: ExampleOrder, rank: int = 0) -> Batches:
    """The mini-batches of process ``rank`` of ``config.processes``, each of which gets an equal share."""
    if isinstance(split, Split):
        return BatchesInMemory(config, split, order, rank)
    return StreamedBatches(config, split, order, rank)


class BatchesInMemory:
    """Mini-batches of a split in memory, on its device."""

    def __init__(self, config: Config, split: Split, order: ExampleOrder, rank: int) -> None:
        self.config, self.split, self.order, self.rank = config, split, order, rank

    def between(self, first: int, stop: int) -> Iterator[tuple[Tensor, Tensor]]:
        config, images, labels = self.config, self.split.images, self.split.labels
        share = config.batch_size // config.processes
        mine = slice(self.rank * share, (self.rank + 1) * share)
        batches = [self.order.batch(index)[mine] for index in range(first, stop)]
        # One gather for all labels saves a few per cent of the time.
        targets = labels[torch.cat(batches).to(labels.device)].split(share)
        for step, (batch, target) in enumerate(zip(batches, targets, strict=True), first):
            inputs = images.index_select(0, batch.to(images.device, non_blocking=True))
            yield augment(inputs, config.augmentation, config.seed, step, self.rank, config.processes), target


class StreamedBatches:
    """Mini-batches of a streamed split, which worker processes decode, crop and mirror ahead of the training.

    A mini-batch depends only on the seed and its number, not on the number of workers. Reading starts anew at a
    mini-batch that does not follow the last one.
    """

    def __init__(self, config: Config, split: StreamedSplit, order: ExampleOrder, rank: int) -> None:
        self.config, self.split, self.order, self.rank = config, split, order, rank
        # The workers mirror; the rest of the augmentation acts on the tensors.
        self.rest = replace(config.augmentation, flip=False)
        self._next, self._batches = -1, iter(())

    def between(self, first: int, stop: int) -> Iterator[tuple[Tensor, Tensor]]:
        config = self.config
        if first != self._next:
            share = config.batch_size // config.processes
            plan = ShareOfBatches(self.order, config.seed, first, share, self.rank)
            self._batches = self.split.training_batches(plan, config.augmentation.flip)
            self._next = first
        for step in range(first, stop):
            images, labels = next(self._batches)
            self._next = step + 1
            yield augment(images, self.rest, config.seed, step, self.rank, config.processes), labels
