"""The fully connected network of §4.1."""

from __future__ import annotations

import itertools
import math

from torch import Tensor, nn

from bnrepro.config.schema import MLPConfig
from bnrepro.models.blocks import Block, Recipe, initialise


class MLP(nn.Module):
    """Hidden blocks of fully connected, normalised, activated units, then a linear layer of class scores.

    Input (N, …), flattened to (N, features); output (N, classes), unnormalised log-probabilities.
    Probes look at ``hidden[i].activation``: its input is the "input to the sigmoid" of Fig. 1b, c.
    """

    def __init__(self, recipe: Recipe[MLPConfig], example_shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        widths = [math.prod(example_shape), *recipe.model.hidden]
        self.hidden = nn.ModuleList(
            Block(recipe, before, after, f"hidden.{i}") for i, (before, after) in enumerate(itertools.pairwise(widths))
        )
        if recipe.model.first_layer_scale != 1.0:
            self.hidden[0].linear.weight.data.mul_(recipe.model.first_layer_scale)  # pyright: ignore
        self.dropout = nn.Dropout(recipe.model.dropout) if recipe.model.dropout else None
        self.output = nn.Linear(widths[-1], classes)
        initialise(self.output, recipe, "output")

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for block in self.hidden:
            x = block(x)
            if self.dropout is not None:
                x = self.dropout(x)
        return self.output(x)


NETWORK = MLP
