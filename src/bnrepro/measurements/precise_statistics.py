"""Readers: statistics estimated anew after training, beside the moving average of training, by mini-batch size."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
import torch

from bnrepro.config.randomness import generator
from bnrepro.config.schema import Config
from bnrepro.data import Dataset, load
from bnrepro.measurements.networks import accuracy, configuration, scores
from bnrepro.norm import freeze, population_statistics
from bnrepro.training.evaluation import EVALUATION_CHUNK
from bnrepro.training.loop import Trainer

MOVING, PRECISE, LARGE = "moving average", "Algorithm 2", "Algorithm 2, large mini-batches"
COLUMNS = ["batch", "rate", "seed", "statistics", "metric", "value", "data"]


def own_training(
    data: str, examples: int, sizes: Sequence[int], rates: Sequence[float], **settings: Any
) -> list[Config]:
    """The networks with BN of batch_size, one for each mini-batch size; seeds vary from them."""
    return [
        configuration(
            "experiment=batch_size", f"data={data}", "norm=batch", f"batch_size={size}", f"profiles.rate={rate}",
            f"steps={examples // size}",
        )
        for size, rate in zip(sizes, rates, strict=True)
    ]  # fmt: skip


def measure(
    data: str,
    examples: int,
    seeds: int,
    sizes: Sequence[int],
    rates: Sequence[float],
    population: int,
    large: int,
) -> pd.DataFrame:
    """Test accuracy of every network in evaluation mode, after its last step, by the statistics that it uses.

    Statistics: ``moving average``, of training; ``Algorithm 2``, over ``population`` training examples in mini-batches
    of the size trained with; ``Algorithm 2, large mini-batches``, over the same examples in mini-batches of ``large``.
    The weights are the same in all three.

    Columns: ``batch``, the mini-batch size; ``rate``, the learning rate; ``seed``; ``statistics``; ``metric``:
    ``accuracy``, or ``diverged`` with the step for a run that has no accuracy; ``value``; ``data``.
    """
    rows = []
    for config in own_training(data, examples, sizes, rates):
        for seed in range(seeds):
            own = dataclasses.replace(config, seed=seed)
            dataset = load(own.data)
            for statistics, metric, value in _accuracies(own, dataset, population, large):
                rows.append((own.batch_size, own.optimizer.lr, seed, statistics, metric, value, dataset.label))
    return pd.DataFrame(rows, columns=COLUMNS)


def _accuracies(config: Config, dataset: Dataset, population: int, large: int) -> Iterator[tuple[str, str, float]]:
    trainer = Trainer(config, dataset)
    progress = trainer.run()
    if progress.status == "diverged":
        yield MOVING, "diverged", float(progress.last_step)
        return
    model, images, test = trainer.model.eval(), dataset.train.images, trainer.splits["test"]
    order = torch.randperm(len(images), generator=generator(config.seed, "precise_statistics"))[:population]
    networks = {MOVING: model}
    for name, size in ((PRECISE, config.batch_size), (LARGE, large)):
        batches = images[order].split(min(size, len(order)))
        networks[name] = freeze(model, population_statistics(model, batches))
    for name, network in networks.items():
        yield name, "accuracy", accuracy(_all_scores(network, test.images), test.labels)


def _all_scores(network: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Scores of all ``images``, a last, incomplete batch among them."""
    return torch.cat([scores(network, part, len(part)) for part in images.split(EVALUATION_CHUNK)])
