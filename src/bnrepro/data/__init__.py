"""Data: sets as tensors in memory, where they come from, the order of the examples, augmentation."""

from __future__ import annotations

from bnrepro.data.augmentation import augment
from bnrepro.data.order import ExampleOrder
from bnrepro.data.sets import Dataset, Split, load
from bnrepro.data.sources import find_mnist

__all__ = ["Dataset", "ExampleOrder", "Split", "augment", "find_mnist", "load"]
