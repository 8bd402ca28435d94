"""Loss and accuracy of a network on a split."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnrepro.data import AnySplit
from bnrepro.data.streaming import StreamedSplit
from bnrepro.errors import DataError
from bnrepro.training.distributed import ALONE, Group

EVALUATION_CHUNK, COLOUR_CHUNK, SMALLEST_CHUNK = 2000, 250, 16
"""Images evaluated at a time: fewer where the layers of a convolutional network would not fit the caches.

A chunk of colour images has the pixels of ``COLOUR_CHUNK`` images of 32×32, but at least ``SMALLEST_CHUNK`` images.
"""
TOP_K, FEW_CLASSES = 5, 10
"""Top-5 accuracy is informative only with more than ``FEW_CLASSES`` classes."""


class Evaluation(NamedTuple):
    """Mean cross-entropy, and the shares of the examples whose label has the highest or one of the five highest scores.

    ``top5_accuracy`` is NaN where there are few classes.
    """

    loss: float
    accuracy: float
    top5_accuracy: float

    @classmethod
    def of(cls, loss: float, correct: int, among: int, ranked: int, seen: int) -> Evaluation:
        """From a sum of losses and the counts of :func:`tally`."""
        return cls(loss / seen, correct / seen, among / ranked if ranked else math.nan)


def chunk_size(example_shape: tuple[int, ...]) -> int:
    """How many examples of this shape (channels, height, width) are evaluated at a time."""
    channels, height, width = example_shape
    return EVALUATION_CHUNK if channels == 1 else max(COLOUR_CHUNK * 32 * 32 // (height * width), SMALLEST_CHUNK)


@torch.inference_mode()
def evaluate(model: nn.Module, split: AnySplit, group: Group = ALONE) -> Evaluation:
    """Evaluate ``model``, in its current mode, on ``split``, whose chunks the processes of ``group`` share.

    Examples without a label (a negative one) do not count. Raises :class:`DataError` if no example has a label.
    """
    device = split.device
    loss = torch.zeros((), dtype=torch.float64, device=device)
    counts = torch.zeros(4, dtype=torch.int64, device=device)
    for images, labels in split.chunks(chunk_size(split.example_shape), group.rank, group.size):
        scores = model(images)
        loss += F.cross_entropy(scores, labels, reduction="sum")
        counts += tally(scores, labels)
    # A process may have got no chunk at all; the sums tell it what the others saw.
    correct, among, ranked, seen = group.sum(counts).tolist()
    total = group.sum(loss).item()
    if not seen:
        assert isinstance(split, StreamedSplit)  # a split in memory has been read completely
        error = DataError(f"{split.files.folder}: not one of {len(split):,} images for the evaluation can be read")
        error.told = not group.leads
        raise error
    return Evaluation.of(total, correct, among, ranked, seen)


def tally(scores: Tensor, labels: Tensor) -> Tensor:
    """Counts (…, 4) of the examples of scores (…, n, classes) and labels (…, n): those whose label has the highest
    score, those whose label is among the five highest, all that were ranked so, and all with a label."""
    seen = (labels >= 0).sum(-1)
    correct = (scores.argmax(-1) == labels).sum(-1)
    if scores.shape[-1] <= FEW_CLASSES:
        return torch.stack([correct, torch.zeros_like(seen), torch.zeros_like(seen), seen], -1)
    among = (scores.topk(TOP_K).indices == labels.unsqueeze(-1)).sum((-2, -1))
    return torch.stack([correct, among, seen, seen], -1)


def named(split: str, found: Evaluation) -> dict[str, float]:
    """The values of an evaluation by ``split/metric``; the loss on the training examples is not among them."""
    values = {f"{split}/accuracy": found.accuracy}
    if split != "train":
        values[f"{split}/loss"] = found.loss
    if not math.isnan(found.top5_accuracy):
        values[f"{split}/top{TOP_K}_accuracy"] = found.top5_accuracy
    return values
