"""What a network makes of a split: loss, accuracy, and whether the label is among its five best."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from bnrepro.data import AnySplit
from bnrepro.data.streaming import StreamedSplit
from bnrepro.errors import DataError
from bnrepro.training.distributed import ALONE, Group

EVALUATION_CHUNK, COLOUR_CHUNK, SMALLEST_CHUNK = 2000, 250, 16
"""Images evaluated at a time: fewer where a convolutional network's layers would not fit the processor's caches. Of
colour images as many pixels as 250 of 32×32 have, but never fewer than the last of these numbers."""
TOP_K, FEW_CLASSES = 5, 10
"""With no more classes than the second number, top-5 accuracy says little."""


class Evaluation(NamedTuple):
    """Mean cross-entropy; the shares of the examples whose label has the highest score, and one of the five highest
    (NaN where there are few classes)."""

    loss: float
    accuracy: float
    top5_accuracy: float


def chunk_size(example_shape: tuple[int, ...]) -> int:
    """How many examples of this shape (channels, height, width) are evaluated at a time."""
    channels, height, width = example_shape
    return EVALUATION_CHUNK if channels == 1 else max(COLOUR_CHUNK * 32 * 32 // (height * width), SMALLEST_CHUNK)


@torch.inference_mode()
def evaluate(model: nn.Module, split: AnySplit, group: Group = ALONE) -> Evaluation:
    """``model``, in its present mode, over ``split``, whose chunks the processes of ``group`` share out.

    Examples without a label (a negative one) do not count. Raises :class:`DataError` if none has one.
    """
    device = split.device
    loss = torch.zeros((), dtype=torch.float64, device=device)
    counts = torch.zeros(4, dtype=torch.int64, device=device)
    for images, labels in split.chunks(chunk_size(split.example_shape), group.rank, group.size):
        scores = model(images)
        loss += F.cross_entropy(scores, labels, reduction="sum")
        counts[0] += (scores.argmax(1) == labels).sum()
        if scores.shape[1] > FEW_CLASSES:
            counts[1] += (scores.topk(TOP_K).indices == labels[:, None]).sum()
            counts[2] += (labels >= 0).sum()
        counts[3] += (labels >= 0).sum()
    # A process may have got no chunk at all: what it cannot know, the sums tell it.
    correct, among, ranked, seen = group.sum(counts).tolist()
    total = group.sum(loss).item()
    if not seen:
        assert isinstance(split, StreamedSplit)  # in memory everything has been read
        error = DataError(f"{split.files.folder}: not one of {len(split):,} images to be evaluated can be read")
        error.told = not group.leads
        raise error
    return Evaluation(total / seen, correct / seen, among / ranked if ranked else float("nan"))
