"""The parts that all networks share: initialisation, activations, fully connected and convolutional blocks (§3.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from bnrepro.config.randomness import generator
from bnrepro.config.schema import ModelConfig
from bnrepro.norm.factory import make_norm

ACTIVATIONS: dict[str, type[nn.Module]] = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU}
Model = TypeVar("Model", bound=ModelConfig, covariant=True)


@dataclass(frozen=True)
class Recipe(Generic[Model]):
    """The settings that all layers of one network share: its section ``model``, ``norm``, ``placement`` and seed."""

    model: Model
    norm: dict[str, Any]
    placement: str
    seed: int


@torch.no_grad()
def initialise(layer: nn.Linear | nn.Conv2d, recipe: Recipe[ModelConfig], name: str, scaled: bool = True) -> None:
    """Draw the weights of ``layer`` from the generator that the seed gives to ``name``, and set its bias to 0.

    ``scaled=False`` applies Kaiming's standard deviation without ``init_scale``: §4.2.3 enlarges the weights of the
    convolutions alone, not those of the classifier. A layer on the meta device has no weights to draw.
    """
    if layer.weight.is_meta:
        return
    std = recipe.model.init_scale
    if recipe.model.init == "kaiming":
        std = math.sqrt(2.0 / layer.weight[0].numel()) * (recipe.model.init_scale if scaled else 1.0)
    # Drawn in float32 on the CPU whatever the run's precision and device: arms and devices share their start.
    weight = torch.randn(layer.weight.shape, generator=generator(recipe.seed, "init", name))
    layer.weight.copy_(weight * std)
    if layer.bias is not None:
        layer.bias.zero_()


class Activated(nn.Module):
    """g(norm(Wu)) or norm(g(Wu + b)), §3.2: the order of normalisation and activation in every block.

    A block has no bias where the normalisation follows directly: its mean subtraction cancels the bias, and its β takes
    the bias's place. ``norm`` is None in a plain block.
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
    """Normalises every activation of a convolution by itself, as §3 does in a fully connected layer.

    Each channel has its own statistics, γ and β at each position, where §3.2 has one set for a channel
    ("non-convolutional" in §4.2.3). (N, C, H, W) → the same shape; C, H and W are fixed.

    ``norm`` is any normaliser of C·H·W units. Units are ordered by position, then by channel: a channels_last image has
    this order in memory already.
    """

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        last = x.permute(0, 2, 3, 1)
        return self.norm(last.flatten(1)).unflatten(1, last.shape[1:]).permute(0, 3, 1, 2)


class Block(Activated):
    """A fully connected layer, its normalisation and its activation: (N, inputs) → (N, outputs).

    ``name`` selects the generator of its initial weights.
    """

    def __init__(self, recipe: Recipe[ModelConfig], inputs: int, outputs: int, name: str) -> None:
        super().__init__()
        self.placement = recipe.placement
        norm = make_norm(recipe.norm, outputs)
        self.linear = nn.Linear(inputs, outputs, bias=norm is None or recipe.placement == "after")
        initialise(self.linear, recipe, name)
        self.norm = norm
        self.activation = ACTIVATIONS[recipe.model.activation]()

    def forward(self, x: Tensor) -> Tensor:
        return self._activate(self.linear(x))


def divided(side: tuple[int, int], stride: int) -> tuple[int, int]:
    """Height and width after a convolution or pool of ``stride``, rounded up, as the blocks pad it."""
    height, width = side
    return -(-height // stride), -(-width // stride)


class ConvBlock(Activated):
    """A convolution, its normalisation over the channels (§3.2) and its activation.

    (N, inputs, H, W) → (N, outputs, H/stride, W/stride), rounded up. ``name`` selects the generator of its initial
    weights. If ``side`` gives the (H, W) of the inputs, every activation is normalised by itself instead.
    """

    def __init__(
        self,
        recipe: Recipe[ModelConfig],
        inputs: int,
        outputs: int,
        kernel: int,
        name: str,
        stride: int = 1,
        side: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.placement = recipe.placement
        norm = make_norm(recipe.norm, outputs if side is None else outputs * math.prod(divided(side, stride)))
        bias = norm is None or recipe.placement == "after"
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=bias)
        initialise(self.conv, recipe, name)
        self.norm = norm if norm is None or side is None else PerActivation(norm)
        self.activation = ACTIVATIONS[recipe.model.activation]()

    def forward(self, x: Tensor) -> Tensor:
        return self._activate(self.conv(x))
