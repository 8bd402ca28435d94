"""The parts that all networks share: initialisation, activations, fully connected and convolutional blocks (§3.2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from bnrepro.config.identity import norm_name
from bnrepro.config.randomness import generator
from bnrepro.config.schema import ModelConfig
from bnrepro.errors import ConfigError
from bnrepro.norm.factory import make_norm
from bnrepro.norm.interface import Normaliser

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
    the bias's place. ``norm`` is None in a plain block. What a :class:`~bnrepro.norm.Normaliser` asks for, it gets
    here: the weights of the layer, and a say in the activation.
    """

    placement: str
    norm: nn.Module | None
    activation: nn.Module

    def _complete(self, recipe: Recipe[ModelConfig], norm: nn.Module | None, per_activation: bool = False) -> None:
        """Add ``norm`` and the activation behind the layer. With ``per_activation``, each position has its own units.

        Raises :class:`ConfigError` for a normaliser of the layer's weights that does not follow the layer directly.
        """
        self.placement = recipe.placement
        own = norm if isinstance(norm, Normaliser) else None
        self.reads_weights = own is not None and own.reads_weights
        if self.reads_weights and (recipe.placement != "before" or per_activation):
            raise ConfigError(
                f"norm={norm_name(recipe.norm)} normalises the weights of the layer before it, one vector for each "
                "unit: it takes placement=before, and no blocks that normalise every activation by itself"
            )
        activation = ACTIVATIONS[recipe.model.activation]()
        given = activation if own is None else own.in_place_of(activation)
        self.norm = PerActivation(norm) if norm is not None and per_activation else norm
        # A module of its own has a parameter for each unit, as the normaliser has.
        self.activation = PerActivation(given) if given is not activation and per_activation else given

    def _activate(self, x: Tensor, layer: nn.Linear | nn.Conv2d) -> Tensor:
        """The output of the block from that of its ``layer``."""
        if self.norm is None:
            return self.activation(x)
        if self.reads_weights:
            return self.activation(self.norm(x, layer.weight))
        if self.placement == "before":
            return self.activation(self.norm(x))
        return self.norm(self.activation(x))


@torch.no_grad()
def start_from(model: nn.Module, images: Callable[[], Tensor]) -> None:
    """Let the normalisers of ``model`` that start from data see ``images``, a mini-batch, from the first to the last.

    Every normaliser then sees what those before it have made of it. Dropout and running statistics rest: the model is
    in evaluation mode afterwards. ``images`` is called only if there is such a normaliser.
    """
    starting = [module for module in model.modules() if isinstance(module, Normaliser) and module.starts_from_data]
    if not starting:
        return
    handles = [module.register_forward_pre_hook(lambda module, given: module.start(*given)) for module in starting]  # pyright: ignore[reportCallIssue]
    try:
        model.eval()(images())
    finally:
        for handle in handles:
            handle.remove()


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
        norm = make_norm(recipe.norm, outputs)
        self.linear = nn.Linear(inputs, outputs, bias=norm is None or recipe.placement == "after")
        initialise(self.linear, recipe, name)
        self._complete(recipe, norm)

    def forward(self, x: Tensor) -> Tensor:
        return self._activate(self.linear(x), self.linear)


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
        norm = make_norm(recipe.norm, outputs if side is None else outputs * math.prod(divided(side, stride)))
        bias = norm is None or recipe.placement == "after"
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=bias)
        initialise(self.conv, recipe, name)
        self._complete(recipe, norm, per_activation=side is not None)

    def forward(self, x: Tensor) -> Tensor:
        return self._activate(self.conv(x), self.conv)
