"""Where training takes its mini-batches from: gathered in memory, or read from disk ahead of time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from bnrepro.config.schema import AugmentationConfig, Config
from bnrepro.data.batches import ExampleOrder, augment
from bnrepro.data.sets import AnySplit, Split
from bnrepro.data.streaming import ShareOfBatches, StreamedSplit


class Batches(Protocol):
    """Where training takes its mini-batches from."""

    def between(self, first: int, stop: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and labels of this process's share of mini-batches ``first`` … ``stop`` − 1, in their order."""
        ...


def open_batches(config: Config, split: AnySplit, order: ExampleOrder, rank: int = 0) -> Batches:
    """The mini-batches of process ``rank`` of ``config.processes``, which share each of them out evenly."""
    return (BatchesInMemory if isinstance(split, Split) else StreamedBatches)(config, split, order, rank)  # type: ignore[arg-type]


class BatchesInMemory:
    """Of a split that lies in memory, on the device where it lies."""

    def __init__(self, config: Config, split: Split, order: ExampleOrder, rank: int) -> None:
        self.split, self.order, self.rank = split, order, rank
        self.seed, self.processes = config.seed, config.processes
        self.augmentation = config.augmentation
        self.augmented = config.augmentation != AugmentationConfig()
        self.share = config.batch_size // config.processes

    def between(self, first: int, stop: int) -> Iterator[tuple[Tensor, Tensor]]:
        images, labels = self.split.images, self.split.labels
        mine = slice(self.rank * self.share, (self.rank + 1) * self.share)
        batches = [self.order.batch(index)[mine] for index in range(first, stop)]
        # All labels in one gather save a few per cent.
        targets = labels[torch.cat(batches).to(labels.device)].split(self.share)
        for step, (batch, target) in enumerate(zip(batches, targets, strict=True), first):
            inputs = images.index_select(0, batch.to(images.device, non_blocking=True))
            if self.augmented:
                inputs = augment(inputs, self.augmentation, self.seed, step, self.rank, self.processes)
            yield inputs, target


class StreamedBatches:
    """Of a streamed split: worker processes decode, crop and mirror ahead of the training.

    A mini-batch is a function of the seed and its number, whatever the number of workers: one that is resumed at, or
    asked for out of turn, is read anew.
    """

    def __init__(self, config: Config, split: StreamedSplit, order: ExampleOrder, rank: int) -> None:
        self.config, self.split, self.order, self.rank = config, split, order, rank
        # Mirrored by the workers; what is left is done to the tensors.
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
