"""§1: how far the gradient of a mini-batch is from that of the training set, and its cost, by batch size."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnrepro.config.randomness import generator
from bnrepro.config.schema import Config
from bnrepro.data import Split, load
from bnrepro.measurements.networks import configuration
from bnrepro.measurements.timing import interleave
from bnrepro.training.evaluation import EVALUATION_CHUNK
from bnrepro.training.loop import Trainer

SLICE_EXAMPLES, SLICE_BATCHES = 512, 32
"""A slice of the timing has ``SLICE_EXAMPLES`` examples, but at most ``SLICE_BATCHES`` batches."""
SLICES = 4


def own_training(data: str, steps: int, **settings: Any) -> list[Config]:
    """The network of §4.1 at the shared learning rate; seeds and layers vary from it."""
    return [configuration("experiment=mnist_training", f"data={data}", "norm=none", f"steps={steps}")]


def measure(
    data: str, batch_sizes: Sequence[int], seeds: int, steps: int, draws: int, drawn: int, rounds: int
) -> pd.DataFrame:
    """The network of §4.1 without normalisation after ``steps`` of training, one network for each seed.

    Columns: ``metric``, ``repetition``, ``batch``, ``data``, ``value``. Metrics: ``error`` is the root mean square over
    the batches of ‖g_B − g‖ ÷ ‖g‖, with g the gradient of the whole training set (repetition: the seed); ``examples per
    second`` counts forward and backward passes (repetition: the round; all sizes in turn).

    At least ``draws`` batches of each size are drawn, and so many small ones that they hold ``drawn`` examples: single
    gradients are occasionally very long, and a mean without these would be too small. Batches are drawn with
    replacement; otherwise the error would vanish as the batch becomes the whole training set.
    """
    [config] = own_training(data, steps)
    label = load(config.data).label
    trained = [_trained(dataclasses.replace(config, seed=seed)) for seed in range(seeds)]
    rows = []
    for seed, trainer in enumerate(trained):
        full = full_gradient(trainer.model, trainer.train_set)
        for size in batch_sizes:
            gen = generator(seed, "gradient_estimate", size)
            count = max(draws, drawn // size)
            squares = [
                (gradient(trainer.model, *_batch(trainer.train_set, size, gen)) - full).square().sum().item()
                for _ in range(count)
            ]
            error = math.sqrt(sum(squares) / count) / full.norm().item()
            rows.append(("error", seed, size, label, error))
    for size, speeds in _speeds(trained[0], batch_sizes, rounds).items():
        rows += [("examples per second", turn, size, label, speed) for turn, speed in enumerate(speeds)]
    return pd.DataFrame(rows, columns=["metric", "repetition", "batch", "data", "value"])


def gradient(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Gradient of the mean cross-entropy with respect to all parameters, as one vector."""
    loss = F.cross_entropy(model(images), labels)
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(model.parameters()))])


def full_gradient(model: nn.Module, split: Split) -> Tensor:
    """The gradient of the mean cross-entropy over all of ``split``, computed in parts."""
    parts = zip(split.images.split(EVALUATION_CHUNK), split.labels.split(EVALUATION_CHUNK), strict=True)
    total = torch.stack([len(labels) * gradient(model, images, labels) for images, labels in parts]).sum(0)
    return total / len(split)


def _trained(config: Config) -> Trainer:
    trainer = Trainer(config, load(config.data))
    trainer.run()
    return trainer


def _batch(split: Split, size: int, gen: torch.Generator) -> tuple[Tensor, Tensor]:
    chosen = torch.randint(len(split), (size,), generator=gen)
    return split.images[chosen], split.labels[chosen]


def _speeds(trainer: Trainer, batch_sizes: Sequence[int], rounds: int) -> dict[int, list[float]]:
    """Examples per second by batch size, one value for each round."""
    repeats = {size: max(1, min(SLICE_BATCHES, SLICE_EXAMPLES // size)) for size in batch_sizes}

    def passes(size: int) -> Callable[[], None]:
        images, labels = _batch(trainer.train_set, size, generator(0, "gradient_estimate", "speed", size))

        def run() -> None:
            for _ in range(repeats[size]):
                gradient(trainer.model, images, labels)

        return run

    timings = interleave({str(size): passes(size) for size in batch_sizes}, rounds, SLICES)
    return {size: [size * repeats[size] / seconds for seconds in timings.seconds(str(size))] for size in batch_sizes}
