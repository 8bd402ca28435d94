"""The network of §4.1 with each of the readers' variants as its normalisation, briefly trained, then evaluated."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
import torch
from torch import nn

from bnrepro.config.checks import validated
from bnrepro.config.schema import Config
from bnrepro.data import load
from bnrepro.measurements.networks import accuracy, configuration, normalising_by_batch, scores
from bnrepro.norm.pitfalls import GraphedRunningMean
from bnrepro.norm.reference import ReferenceBatchNorm
from bnrepro.training.loop import Trainer

REFERENCE = "ReferenceBatchNorm"


def own_training(data: str, steps: int, **settings: Any) -> list[Config]:
    """The network of §4.1 at the shared learning rate; seeds and layers vary from it."""
    return [configuration("experiment=mnist_training", f"data={data}", "norm=none", f"steps={steps}")]


def measure(
    data: str, variants: Sequence[str], steps: int, seeds: int, graph_steps: int, test_batch: int
) -> pd.DataFrame:
    """Accuracy of every variant and of the reference, after the same steps from the same start.

    Columns: ``variant``, ``seed``, ``steps``, ``data``, ``metric``, ``value``. Metrics: ``accuracy`` on the test set
    with the running statistics; ``accuracy by batch`` with the statistics of ``test_batch`` test examples. A run that
    diverged has neither, but a row ``diverged`` with its step.

    The variant whose running mean keeps its graph is trained for ``graph_steps`` only, and the reference is trained for
    that long too. This variant has two more metrics: ``graph nodes per step``, the growth of its graph by one step, and
    ``can be copied``, 0 or 1.
    """
    [config] = own_training(data, steps)
    label = load(config.data).label
    graphed = GraphedRunningMean.__name__
    runs = [(variant, steps) for variant in (REFERENCE, *variants)] + [(REFERENCE, graph_steps), (graphed, graph_steps)]
    rows = []
    for seed in range(seeds):
        for variant, length in dict.fromkeys(runs):
            own = dataclasses.replace(config, norm=norm(variant), seed=seed, steps=length)
            for metric, value in _trained(validated(own), test_batch):
                rows.append((variant, seed, length, label, metric, value))
    return pd.DataFrame(rows, columns=["variant", "seed", "steps", "data", "metric", "value"])


def norm(variant: str) -> dict[str, str]:
    """The configuration of a variant's layer, or of the reference, with its own defaults."""
    module = "reference" if variant == REFERENCE else "pitfalls"
    return {"name": variant, "_target_": f"bnrepro.norm.{module}.{variant}"}


def _trained(config: Config, test_batch: int) -> Iterator[tuple[str, float]]:
    trainer = Trainer(config, load(config.data))
    progress = trainer.run()
    if progress.status == "diverged":
        yield "diverged", progress.last_step
        return
    model, test = trainer.model.eval(), trainer.splits["test"]
    graphed = [module for module in model.modules() if isinstance(module, GraphedRunningMean)]
    if graphed:
        yield "graph nodes per step", nodes(graphed) / config.steps
        yield "can be copied", float(can_be_copied(model))
        # Without their history the same numbers can be copied, as the evaluation below needs.
        for layer in graphed:
            layer.running_mean = _mean(layer).detach()
    for metric, network, size in (
        ("accuracy", model, len(test)),
        ("accuracy by batch", normalising_by_batch(model), test_batch),
    ):
        yield metric, accuracy(scores(network, test.images, size), test.labels)


def nodes(layers: Sequence[ReferenceBatchNorm]) -> int:
    """Number of different autograd nodes that the running means of ``layers`` keep alive."""
    seen: set[torch.autograd.graph.Node] = set()
    left = [node for layer in layers if (node := _mean(layer).grad_fn) is not None]
    while left:
        node = left.pop()
        if node not in seen:
            seen.add(node)
            left += [before for before, _ in node.next_functions if before is not None]
    return len(seen)


def can_be_copied(model: nn.Module) -> bool:
    try:
        copy.deepcopy(model)
    except RuntimeError:
        return False
    return True


def _mean(layer: ReferenceBatchNorm) -> torch.Tensor:
    assert layer.running_mean is not None
    return layer.running_mean
