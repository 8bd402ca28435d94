"""§3.1, Algorithm 2: predictions of a trained network with population statistics, or with those of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor, nn

from bnrepro.config.identity import arm_label
from bnrepro.data import Split
from bnrepro.errors import ConfigError
from bnrepro.measurements.base import Trained
from bnrepro.measurements.networks import accuracy, normalising_by_batch, scores
from bnrepro.norm import fold, freeze, layers_with_running_statistics, population_statistics

NEEDS = "mnist_training"


def measure(batch_sizes: Sequence[int], examples: int, trained: Sequence[Trained]) -> pd.DataFrame:
    """Every trained network with its running statistics, with those of Algorithm 2, and with the test batch's own.

    Columns: ``arm``, ``seed``; ``statistics``: ``moving average``, ``Algorithm 2``, ``test batch``, ``folded`` (those
    of Algorithm 2, folded into the weights), or ``none`` for a network without any; ``batch``, the number of test
    examples in a batch; ``metric``, ``value``:

    - ``dependence``: the largest change of an example's scores when the others in its batch are exchanged and its place
      in the batch stays, ÷ the largest score; ``changed``: the share of examples whose predicted class changes.
    - ``accuracy`` on the test examples that form whole batches of the largest size; for the fixed maps at this size
      only, since the size makes no difference to them.
    - ``disagreement`` of the folded network with that of Algorithm 2: largest difference of a score ÷ largest score.

    Sizes for which the data have no two whole batches are left out. Raises :class:`ConfigError` if none is left.
    """
    rows = []
    for each in trained:
        config, test = each.planned.config, each.dataset.test
        sizes = [size for size in batch_sizes if 2 * size <= min(examples, len(test))]
        if not sizes:
            raise ConfigError(
                f"batch_sizes={list(batch_sizes)}: {min(examples, len(test))} examples make no two batches"
            )
        whole = len(test) // sizes[-1] * sizes[-1]
        test = Split(test.images[:whole], test.labels[:whole])
        if layers_with_running_statistics(each.model):
            found = _rows(each, test, sizes, test.images[:examples])
        else:
            found = [("none", sizes[-1], "accuracy", accuracy(scores(each.model, test.images, sizes[-1]), test.labels))]
        rows += [(arm_label(config), config.seed, *row) for row in found]
    return pd.DataFrame(rows, columns=["arm", "seed", "statistics", "batch", "metric", "value"])


def _rows(each: Trained, test: Split, sizes: list[int], seen_twice: Tensor) -> list[tuple[str, int, str, float]]:
    batches = each.dataset.train.images.split(each.planned.config.batch_size)
    frozen = freeze(each.model, population_statistics(each.model, batches))
    by_batch = normalising_by_batch(each.model)
    rows = []
    for statistics, network in {"moving average": each.model, "Algorithm 2": frozen, "test batch": by_batch}.items():
        for size in sizes:
            dependence, changed = exchanged(network, seen_twice, size)
            rows += [(statistics, size, "dependence", dependence), (statistics, size, "changed", changed)]
        for size in sizes if network is by_batch else sizes[-1:]:
            rows.append((statistics, size, "accuracy", accuracy(scores(network, test.images, size), test.labels)))
    expected, found = (scores(network, test.images, sizes[-1]) for network in (frozen, fold(frozen)))
    rows.append(("folded", sizes[-1], "disagreement", _relative(found, expected)))
    rows.append(("folded", sizes[-1], "accuracy", accuracy(found, test.labels)))
    return rows


def exchanged(network: nn.Module, images: Tensor, size: int) -> tuple[float, float]:
    """How much the scores change, relative to the largest, and how many predictions, when batches are formed anew.

    Each example keeps its place in the batch, because rounding may depend on the row of a matrix product; the examples
    in place p move on by p batches. Where there are fewer batches than places, some examples stay together.
    """
    whole = len(images) // size
    before = torch.arange(whole * size).view(whole, size)
    after = torch.stack([before[:, place].roll(place) for place in range(size)], dim=1)
    first = scores(network, images[before.flatten()], size)
    second = torch.empty_like(first)
    second[after.flatten()] = scores(network, images[after.flatten()], size)
    return _relative(second, first), (second.argmax(1) != first.argmax(1)).double().mean().item()


def _relative(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).abs().max() / expected.abs().max()).item()
