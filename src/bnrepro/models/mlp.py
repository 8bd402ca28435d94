"""The fully connected network of §4.1."""

from __future__ import annotations

import itertools
import math
from typing import Any

from torch import Tensor, nn

from bnrepro.config.schema import MLPConfig
from bnrepro.models.blocks import Block, initialise


class MLP(nn.Module):
    """Hidden blocks of fully connected, normalised, activated units, then a linear layer of class scores.

    Input (N, …), flattened to (N, features); output (N, classes), unnormalised log-probabilities.
    ``hidden[i].activation`` is where the probes look: its input is the "input to the sigmoid" of Fig. 1b, c.
    """

    def __init__(
        self,
        model: MLPConfig,
        norm: dict[str, Any],
        placement: str,
        example_shape: tuple[int, ...],
        classes: int,
        seed: int,
    ) -> None:
        super().__init__()
        widths = [math.prod(example_shape), *model.hidden]
        self.hidden = nn.ModuleList(
            Block(model, norm, placement, before, after, seed, f"hidden.{i}")
            for i, (before, after) in enumerate(itertools.pairwise(widths))
        )
        self.dropout = nn.Dropout(model.dropout) if model.dropout else None
        self.output = nn.Linear(widths[-1], classes)
        initialise(self.output, model, seed, "output")

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for block in self.hidden:
            x = block(x)
            if self.dropout is not None:
                x = self.dropout(x)
        return self.output(x)


NETWORK = MLP
