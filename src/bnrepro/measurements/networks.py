"""The network of §4.1 for measurements that train it briefly themselves, and helpers to evaluate networks."""

from __future__ import annotations

import copy

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
    """The first run that ``overrides`` describe, on stand-in data if its own are not available.

    It has seed 0 and no probes, W&B or checkpoints, and is evaluated at its first and last step only.
    """

    def composed(stand_in: tuple[str, ...]) -> list[Config]:
        own = [text for text in overrides if not (stand_in and text.startswith("data="))]
        return composer.sweep([*QUIET, *own, *stand_in], single=True)

    with Composer() as composer:
        found = fallback.with_data(composed)
    fallback.tell(found)
    [config] = found.configs
    return config


def normalising_by_batch(model: nn.Module) -> nn.Module:
    """A copy of ``model`` in evaluation mode that still normalises every batch by its own mean and variance."""
    network = copy.deepcopy(model).eval()
    for layer in layers_with_running_statistics(network):
        layer.train()
    return network


@torch.inference_mode()
def scores(model: nn.Module, images: Tensor, size: int) -> Tensor:
    """Class scores (N, classes) of ``model`` in batches of ``size`` images; a last, incomplete batch is left out."""
    return torch.cat([model(batch) for batch in images.split(size) if len(batch) == size])


def accuracy(scores: Tensor, labels: Tensor) -> float:
    """Share of examples whose label has the highest score; ``labels`` beyond the last score are ignored."""
    return (scores.argmax(1) == labels[: len(scores)]).double().mean().item()
