"""Data: sets as tensors in memory or streamed, where they come from, the order of the examples, augmentation."""

from __future__ import annotations

from bnrepro.data.batches import ExampleOrder, augment
from bnrepro.data.loading import open_batches
from bnrepro.data.sets import AnyDataset, AnySplit, Dataset, Split, load, open_dataset, part_of
from bnrepro.data.sources import find_mnist
