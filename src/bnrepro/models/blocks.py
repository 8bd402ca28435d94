"""What the networks are made of: initialisation, the activation, fully connected and convolutional blocks of §3.2."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bnrepro.config.randomness import generator
from bnrepro.config.schema import ModelConfig
from bnrepro.norm.factory import make_norm

ACTIVATIONS: dict[str, type[nn.Module]] = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU}


@torch.no_grad()
def initialise(layer: nn.Linear | nn.Conv2d, model: ModelConfig, seed: int, name: str, scaled: bool = True) -> None:
    """Draw the weights of ``layer`` from the generator that the seed gives to ``name``; biases become 0.

    ``scaled`` false leaves Kaiming's standard deviation as it is: the classifier of an Inception, since §4.2.3
    enlarges the weights of the convolutions.
    """
    std = model.init_scale
    if model.init == "kaiming":
        std = math.sqrt(2.0 / layer.weight[0].numel()) * (model.init_scale if scaled else 1.0)
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


class PerActivation(nn.Module):
    """Normalises every activation of a convolution by itself, as §3 does in a fully connected layer: each channel at
    each position has statistics, γ and β of its own, where §3.2 has one of each for a channel ("non-convolutional" in
    §4.2.3). (N, C, H, W) → the same, of the C, H and W that it was made for.

    ``norm`` is any normaliser of C·H·W units: position by position, the channels of each one after another, which in
    memory is the order that a channels_last image has already.
    """

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        last = x.permute(0, 2, 3, 1)
        return self.norm(last.flatten(1)).unflatten(1, last.shape[1:]).permute(0, 3, 1, 2)


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


def divided(side: tuple[int, int], stride: int) -> tuple[int, int]:
    """Height and width of what leaves a convolution or pool of ``stride``, padded as ours are: rounded up."""
    height, width = side
    return -(-height // stride), -(-width // stride)


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
    ``side`` is (H, W) where every activation is to be normalised by itself instead.
    """

    def __init__(
        self,
        recipe: Recipe,
        inputs: int,
        outputs: int,
        kernel: int,
        name: str,
        stride: int = 1,
        side: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.placement = recipe.placement
        if side is None:
            normalise = make_norm(recipe.norm, outputs)
        else:
            height, width = divided(side, stride)
            own = make_norm(recipe.norm, outputs * height * width)
            normalise = None if own is None else PerActivation(own)
        bias = normalise is None or recipe.placement == "after"
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=bias)
        initialise(self.conv, recipe.model, recipe.seed, name)
        self.norm = normalise
        self.activation = ACTIVATIONS[recipe.model.activation]()

    def forward(self, x: Tensor) -> Tensor:
        return self._activate(self.conv(x))
