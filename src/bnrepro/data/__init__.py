"""Data: sources, data sets in memory or streamed, mini-batches, augmentation."""

from __future__ import annotations

from bnrepro.data.batches import ExampleOrder, augment
from bnrepro.data.loading import open_batches
from bnrepro.data.mnist import find_mnist
from bnrepro.data.sets import AnyDataset, AnySplit, Dataset, Split, load, open_dataset, part_of
from bnrepro.data.worker_failures import explained
