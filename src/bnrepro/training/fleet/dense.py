"""The fully connected network of §4.1, stacked: its equations forward and backward, for all runs at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor

from bnrepro.models.blocks import Block
from bnrepro.models.mlp import MLP
from bnrepro.training.fleet.layers import ACTIVATIONS, Dropout, Layer, Linear, activation, evenly
from bnrepro.training.fleet.norms import form, normaliser
from bnrepro.training.fleet.stack import Stack


class DenseStack(Stack):
    """Stacked :class:`~bnrepro.models.mlp.MLP` networks; ``batch_size`` is N."""

    def __init__(self, model: MLP, width: int, batch_size: int) -> None:
        super().__init__(model, width)
        self.layers: list[Layer] = []
        for index, block in enumerate(cast(Iterable[Block], model.hidden)):
            name = f"hidden.{index}"
            units = block.linear.out_features
            linear = Linear(self, f"{name}.linear", first=index == 0)
            self.layers.append(linear)
            last: list[Layer] = [activation(self, block.activation, f"{name}.activation")]
            if block.norm is not None:
                norm = normaliser(self, block.norm, f"{name}.norm", batch_size, linear)
                last.insert(0 if block.placement == "before" else 1, norm)
            self.layers += last
            if model.dropout is not None:
                self.layers.append(Dropout(model.dropout.p, batch_size, units, self))
        self.layers.append(Linear(self, "output", first=not model.hidden))
        self._one = -torch.ones((), device=self.device, dtype=self.dtype)

    @staticmethod
    def by_kernels(model: MLP, batch_size: int) -> bool:
        """Whether every layer is stepped by kernels that treat all places alike."""
        blocks = list(cast(Iterable[Block], model.hidden))
        return all(
            type(block.activation) in ACTIVATIONS and (block.norm is None or form(block.norm, batch_size) is not None)
            for block in blocks
        )

    def draws(self, generators: Sequence[torch.Generator]) -> list[Tensor]:
        return [draw for layer in self.layers for draw in layer.draws(generators)]

    @torch.no_grad()
    def losses(self, images: Tensor, labels: Tensor, draws: Sequence[Tensor]) -> Tensor:
        scores = self._forward(images.flatten(2).transpose(1, 2), True, list(draws))
        count = labels.shape[1]
        logarithms = torch.log_softmax(scores, 1)
        places = labels.unsqueeze(1)
        losses = -logarithms.gather(1, places).mean((1, 2))
        # dl/dscores = (softmax − one-hot) / N
        slope = evenly(torch.exp, logarithms)
        slope.scatter_add_(1, places, self._one.expand(places.shape)).div_(count)
        for layer in reversed(self.layers):
            slope = layer.backward(cast(Tensor, slope))
        return losses

    @torch.no_grad()
    def scores(self, images: Tensor) -> Tensor:
        if images.dim() == 4:
            images = images.expand(self.width, *images.shape)
        return self._forward(images.flatten(2).transpose(1, 2), False, []).transpose(1, 2)

    def _forward(self, x: Tensor, training: bool, draws: list[Tensor]) -> Tensor:
        for layer in self.layers:
            x = layer.forward(x, training, draws)
        return x
