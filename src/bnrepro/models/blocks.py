"""What the networks are made of: initialisation, the activation, fully connected and convolutional blocks of §3.2."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bnrepro.norm import make_norm
from bnrepro.randomness import generator
from bnrepro.schema import ModelConfig

ACTIVATIONS: dict[str, type[nn.Module]] = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU}


@torch.no_grad()
def initialise(layer: nn.Linear | nn.Conv2d, model: ModelConfig, seed: int, name: str) -> None:
    """Draw the weights of ``layer`` from the generator that the seed gives to ``name``; biases become 0."""
    std = model.init_scale
    if model.init == "kaiming":
        std *= math.sqrt(2.0 / layer.weight[0].numel())
    # Drawn in float32 on the CPU whatever the run's precision and device: arms and devices share their start.
    weight = torch.randn(layer.weight.shape, generator=generator(seed, "init", name))
    layer.weight.copy_(weight * std)
    if layer.bias is not None:
        layer.bias.zero_()


class Activated(nn.Module):
    """g(norm(Wu)) or norm(g(Wu + b)), §3.2: what the fully connected and the convolutional block have in common.

    The bias is dropped where a normalisation follows directly: its mean subtraction cancels the bias, and its β
    takes the bias's place. ``norm`` is None in a plain block.
    """

    placement: str
    norm: nn.Module | None
    activation: nn.Module

    def _activate(self, x: Tensor) -> Tensor:
        if self.norm is None:
            return self.activation(x)
        if self.placement == "before":
            return self.activation(self.norm(x))
        return self.norm(self.activation(x))


class Block(Activated):
    """A fully connected layer, its normalisation and its activation: (N, inputs) → (N, outputs)."""

    def __init__(
        self, model: ModelConfig, norm: dict[str, Any], placement: str, inputs: int, outputs: int, seed: int, name: str
    ) -> None:
        super().__init__()
        self.placement = placement
        normalise = make_norm(norm, outputs)
        self.linear = nn.Linear(inputs, outputs, bias=normalise is None or placement == "after")
        initialise(self.linear, model, seed, name)
        self.norm = normalise
        self.activation = ACTIVATIONS[model.activation]()

    def forward(self, x: Tensor) -> Tensor:
        return self._activate(self.linear(x))


@dataclass(frozen=True)
class Recipe:
    """What all blocks of one network share."""

    model: ModelConfig
    norm: dict[str, Any]
    placement: str
    seed: int


class ConvBlock(Activated):
    """A convolution, its normalisation over the channels (§3.2) and its activation.

    (N, inputs, H, W) → (N, outputs, H/stride, W/stride), rounded up; ``name`` gives it its initial weights.
    """

    def __init__(self, recipe: Recipe, inputs: int, outputs: int, kernel: int, name: str, stride: int = 1) -> None:
        super().__init__()
        self.placement = recipe.placement
        normalise = make_norm(recipe.norm, outputs)
        bias = normalise is None or recipe.placement == "after"
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=bias)
        initialise(self.conv, recipe.model, recipe.seed, name)
        self.norm = normalise
        self.activation = ACTIVATIONS[recipe.model.activation]()

    def forward(self, x: Tensor) -> Tensor:
        return self._activate(self.conv(x))
