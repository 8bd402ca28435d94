"""The network of §4.1 for measurements that train it themselves, briefly; and how a batch is seen from inside."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from bnrepro.config.compose import Composer
from bnrepro.config.schema import Config
from bnrepro.data import fallback
from bnrepro.norm import layers_with_running_statistics

QUIET = (
    "seed=0", "wandb=disabled", "checkpoint_every_s=0", "probes.activations.enabled=false", "evaluation.growth=1",
    "evaluation.min_interval=1000000", "evaluation.max_interval=1000000",
)  # fmt: skip


def configuration(*overrides: str) -> Config:
    """The first run that ``overrides`` describe, on what stands in for its data where they cannot be had.

    Seed 0, without probes, W&B and checkpoints, and evaluated at its first and last step alone.
    """

    def composed(stand_in: tuple[str, ...]) -> list[Config]:
        own = [text for text in overrides if not (stand_in and text.startswith("data="))]
        return composer.sweep([*QUIET, *own, *stand_in], single=True)

    with Composer() as composer:
        [config] = fallback.with_data(composed).configs
    return config


def normalising_by_batch(model: nn.Module) -> nn.Module:
    """A copy of ``model`` that normalises every batch by its own mean and variance, and is in evaluation mode else."""
    network = copy.deepcopy(model).eval()
    for layer in layers_with_running_statistics(network):
        layer.train()
    return network


@torch.inference_mode()
def scores(model: nn.Module, images: Tensor, size: int) -> Tensor:
    """Class scores (N, classes) of ``model``, given ``size`` images at a time; a last, incomplete batch is left out."""
    return torch.cat([model(batch) for batch in _whole(images, size)])


def _whole(images: Tensor, size: int) -> Iterator[Tensor]:
    yield from (batch for batch in images.split(size) if len(batch) == size)


def accuracy(scores: Tensor, labels: Tensor) -> float:
    """Share of the examples whose highest score is that of their label; ``labels`` may go on after the last score."""
    return (scores.argmax(1) == labels[: len(scores)]).double().mean().item()
