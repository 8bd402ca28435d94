"""§3.3: singular values of the Jacobians between normalised layers, and the size of gradients in deep networks."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnrepro.config.checks import validated
from bnrepro.config.randomness import generator
from bnrepro.config.schema import Config, MLPConfig
from bnrepro.data import Dataset, load
from bnrepro.measurements.networks import configuration
from bnrepro.models import build_model
from bnrepro.models.blocks import Block
from bnrepro.models.mlp import MLP
from bnrepro.norm.functional import batch_statistics
from bnrepro.training.loop import Trainer

ARMS = ("none", "batch")
DEEP = {"sigmoid": ("gaussian", 0.1), "relu": ("kaiming", 1.0)}
"""Nonlinearity → initialisation and its scale: the network of §4.1, and the usual one of deep networks."""
NEAR = 2.0
"""A singular value within this factor of 1 counts as near."""
TRAINING, DEPTH = "training", "depth"
COLUMNS = ["part", "arm", "seed", "activation", "depth", "step", "layer", "metric", "value", "data"]

Map = Callable[[Tensor], Tensor]
Row = tuple[str, float]


def own_training(data: str, steps: int, **settings: Any) -> list[Config]:
    """The network of §4.1 at the shared rate and scale, without and with BN; seeds vary from it."""
    return [configuration("experiment=mnist_training", f"data={data}", f"norm={arm}", f"steps={steps}") for arm in ARMS]


def measure(
    data: str, seeds: int, steps: int, points: int, examples: int, statistics: int, depths: Sequence[int]
) -> pd.DataFrame:
    """Singular values over training (``part`` = ``training``), and in deep networks at initialisation (``depth``).

    The Jacobian of hidden layer l is that of the map F from its normalised input x̂ to the x̂ of layer l + 1, with γ and
    β of the first, its nonlinearity and the weights of the second in between; without BN, from the input of one
    nonlinearity to that of the next. It is taken at single examples. μ and σ² are those of ``statistics`` validation
    examples, each layer normalised by them as in training, and are held fixed: F is then a map from one vector to
    another, as in the paper's argument. (Through the batch's statistics the examples also act on each other. That turns
    two directions for every feature, out of as many as there are examples, to exactly zero.)

    Metrics, means over ``examples`` examples, in float64: ``distance``, the root mean square of log s over the singular
    values s; its two parts, the ``spread`` (standard deviation of log s) and the ``mean`` of log s; ``near``, the share
    of s within a factor of 2 of 1; ``low``, ``median``, ``high``, the 5th, 50th and 95th percentile of s.

    ``gradient``, in the part ``depth``, is ‖∂ℓ/∂a‖ for the outputs a of the first hidden layer ÷ that of the last, on
    one mini-batch of the training set, in training mode: through the batch's statistics, as in training. A network that
    diverges in training has one row ``diverged``, with its step.
    """
    rows = []
    configs = dict(zip(ARMS, own_training(data, steps), strict=True))
    for seed in range(seeds):
        for arm, config in configs.items():
            own = dataclasses.replace(config, seed=seed)
            dataset = load(own.data)
            for step, layer, metric, value in _over_training(own, dataset, points, examples, statistics):
                depth, activation = len(_mlp(own).hidden), _mlp(own).activation
                rows.append((TRAINING, arm, seed, activation, depth, step, layer, metric, value, dataset.label))
            for activation, depth in ((each, depth) for each in DEEP for depth in depths):
                for layer, metric, value in _at_start(own, activation, depth, dataset, examples, statistics):
                    rows.append((DEPTH, arm, seed, activation, depth, 0, layer, metric, value, dataset.label))
    return pd.DataFrame(rows, columns=COLUMNS)


def _mlp(config: Config) -> MLPConfig:
    assert isinstance(config.model, MLPConfig)
    return config.model


def _over_training(
    config: Config, dataset: Dataset, points: int, examples: int, statistics: int
) -> Iterator[tuple[int, int, str, float]]:
    trainer = Trainer(config, dataset)
    images = trainer.splits["validation"].images[:statistics]
    for point in range(points + 1):
        step = config.steps * point // points
        if step:
            trainer.advance(step - trainer.progress.step)
        if trainer.progress.diverged:
            yield trainer.progress.last_step, 0, "diverged", float(trainer.progress.last_step)
            return
        for layer, values in enumerate(singular_values(trainer.model, images, examples), 1):
            for metric, value in summary(values):
                yield step, layer, metric, value


def _at_start(
    config: Config, activation: str, depth: int, dataset: Dataset, examples: int, statistics: int
) -> Iterator[tuple[int, str, float]]:
    """Rows of a deep network of as wide layers, before any training."""
    init, scale = DEEP[activation]
    width = _mlp(config).hidden[0]
    model = dataclasses.replace(
        _mlp(config), hidden=[width] * depth, activation=activation, init=init, init_scale=scale
    )
    own = validated(dataclasses.replace(config, model=model))
    network = build_model(own, tuple(dataset.train.images.shape[1:]), dataset.classes)
    # Units of a ReLU that are off have zero rows, whose logarithm says nothing.
    if activation != "relu":
        images = dataset.validation.images[:statistics]
        for layer, values in enumerate(singular_values(network, images, examples), 1):
            for metric, value in summary(values):
                yield layer, metric, value
    chosen = torch.randperm(len(dataset.train), generator=generator(own.seed, "layer_jacobian"))[: own.batch_size]
    yield 0, "gradient", gradient_ratio(network, dataset.train.images[chosen], dataset.train.labels[chosen])


def singular_values(model: nn.Module, images: Tensor, examples: int) -> Iterator[Tensor]:
    """Singular values (examples, width) of each Jacobian between hidden layers, at the first ``examples`` images."""
    for x, between in maps(model, images):
        jacobians = torch.func.vmap(torch.func.jacrev(between))(x[:examples])
        yield torch.linalg.svdvals(jacobians.detach())


def maps(model: nn.Module, images: Tensor) -> Iterator[tuple[Tensor, Map]]:
    """For every hidden layer but the last: x̂ of ``images`` (N, width), and the map to the next layer's x̂."""
    network = copy.deepcopy(model).double()
    assert isinstance(network, MLP)
    blocks = [block for block in network.hidden if isinstance(block, Block)]
    with torch.no_grad():
        z = blocks[0].linear(images.double().flatten(1))
        x = _standardised(blocks[0], z)(z)
    for block, after in itertools.pairwise(blocks):

        def linear(x: Tensor, block: Block = block, after: Block = after) -> Tensor:
            return after.linear(block.activation(_affine(block, x)))

        with torch.no_grad():
            z = linear(x)
        standardised = _standardised(after, z)

        def between(x: Tensor, linear: Map = linear, standardised: Map = standardised) -> Tensor:
            return standardised(linear(x))

        yield x, between
        with torch.no_grad():
            x = between(x)


def _standardised(block: Block, z: Tensor) -> Map:
    """z → x̂ by the mean and variance of ``z`` (N, width), held fixed; unchanged without BN."""
    if block.norm is None:
        return lambda each: each
    mean, variance = batch_statistics(z)
    deviation = torch.sqrt(variance + _number(block.norm, "eps"))
    return lambda each: (each - mean) / deviation


def _affine(block: Block, x: Tensor) -> Tensor:
    """γx̂ + β, the input of the nonlinearity."""
    return x if block.norm is None else block.norm.weight * x + block.norm.bias  # type: ignore[operator]


def _number(module: nn.Module, name: str) -> float:
    value = getattr(module, name)
    assert isinstance(value, float)
    return value


def summary(values: Tensor) -> list[Row]:
    """What :func:`measure` records of singular values (examples, width)."""
    logs = values.log()
    low, median, high = values.quantile(torch.tensor([0.05, 0.5, 0.95], dtype=values.dtype), dim=1)
    near = (logs.abs() <= torch.tensor(NEAR).log()).double().mean(1)
    found = {
        "distance": logs.square().mean(1).sqrt(), "spread": logs.std(1, correction=0), "mean": logs.mean(1),
        "near": near, "low": low, "median": median, "high": high,
    }  # fmt: skip
    return [(metric, each.mean().item()) for metric, each in found.items()]


def gradient_ratio(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """‖∂ℓ/∂a‖ for the outputs a of the first hidden layer ÷ that for the last, in training mode, in float64."""
    network = copy.deepcopy(model).double().train()
    assert isinstance(network, MLP)
    outputs = [images.double().flatten(1)]
    for block in network.hidden:
        outputs.append(block(outputs[-1]))
    loss = F.cross_entropy(network.output(outputs[-1]), labels)
    first, last = torch.autograd.grad(loss, (outputs[1], outputs[-1]))
    return (first.norm() / last.norm()).item()
