"""The Inception of §4.2, small enough for 32×32 images and two cores."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bnrepro.config.schema import BNInceptionConfig, InceptionConfig, ModelConfig
from bnrepro.errors import ConfigError
from bnrepro.models.blocks import ConvBlock, Recipe, divided, initialise


@dataclass(frozen=True)
class Columns:
    """Widths of an Inception block, named as the columns of the paper's table (Fig. 5): 1×1, 3×3 with its reduction,
    double 3×3 with its reduction, and the projection after the pool. ``one`` and ``projection`` are 0 in a block of
    stride 2, whose pool passes its input through."""

    one: int
    three_reduce: int
    three: int
    double_reduce: int
    double: int
    projection: int
    pool: str = "avg"
    stride: int = 1

    def outputs(self, inputs: int) -> int:
        """Channels that leave the block."""
        return self.one + self.three + self.double + (self.projection or inputs)


class InceptionBlock(nn.Module):
    """Up to four branches side by side, their channels concatenated: (N, inputs, H, W) → (N, outputs, H', W').

    Two 3×3 convolutions replace every 5×5 of the first Inception (the paper's appendix). ``columns.stride`` is that of
    the last 3×3 of each branch and of the pool. If ``side`` gives the (H, W) of the inputs, every activation is
    normalised by itself.
    """

    def __init__(
        self,
        recipe: Recipe[ModelConfig],
        inputs: int,
        columns: Columns,
        name: str,
        side: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        c, stride = columns, columns.stride

        def conv(before: int, after: int, kernel: int, part: str, stride: int = 1) -> ConvBlock:
            return ConvBlock(recipe, before, after, kernel, f"{name}.{part}", stride, side)

        branches: list[nn.Module] = [conv(inputs, c.one, 1, "one")] if c.one else []
        branches.append(
            nn.Sequential(
                conv(inputs, c.three_reduce, 1, "three.reduce"), conv(c.three_reduce, c.three, 3, "three.conv", stride)
            )
        )
        branches.append(
            nn.Sequential(
                conv(inputs, c.double_reduce, 1, "double.reduce"),
                conv(c.double_reduce, c.double, 3, "double.conv1"),
                conv(c.double, c.double, 3, "double.conv2", stride),
            )
        )
        pool = nn.AvgPool2d(3, stride, 1) if c.pool == "avg" else nn.MaxPool2d(3, stride, 1)
        projection = [conv(inputs, c.projection, 1, "projection")] if c.projection else []
        branches.append(nn.Sequential(pool, *projection))
        self.branches = nn.ModuleList(branches)
        self.outputs = c.outputs(inputs)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


class InceptionNetwork(nn.Module):
    """A stem, Inception blocks, the mean over positions, dropout if configured, a linear layer of class scores.

    Input (N, C, H, W), output (N, classes). ``width`` is the number of channels that leave the last block.
    """

    def __init__(
        self,
        recipe: Recipe[InceptionConfig] | Recipe[BNInceptionConfig],
        stem: nn.Sequential,
        blocks: nn.Sequential,
        width: int,
        classes: int,
    ) -> None:
        super().__init__()
        self.stem, self.blocks = stem, blocks
        self.dropout = nn.Dropout(recipe.model.dropout) if recipe.model.dropout else None
        self.output = nn.Linear(width, classes)
        initialise(self.output, recipe, "output", scaled=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.stem(x)).mean((2, 3))
        if self.dropout is not None:
            x = self.dropout(x)
        return self.output(x)


class Inception(InceptionNetwork):
    """A 3×3 convolution and a pool, then Inception blocks at several resolutions.

    Resolution i has ``model.blocks[i]`` blocks of stride 1. Their columns are 2, 2, 2, 2, 3 and 1 times
    ``model.units[i]``, the proportions of the paper's first blocks, so that eight units leave each. One block of stride
    2 leads to the next resolution.

    ``example_shape`` is (C, H, W); a network whose last blocks normalise every activation by itself takes no other.
    Raises :class:`ConfigError` if ``model.per_activation_blocks`` exceeds the number of blocks.
    """

    def __init__(self, recipe: Recipe[InceptionConfig], example_shape: tuple[int, ...], classes: int) -> None:
        model = recipe.model
        channels, height, across = example_shape
        stem: list[nn.Module] = [ConvBlock(recipe, channels, model.stem, 3, "stem"), nn.MaxPool2d(3, 2, 1)]
        side = divided((height, across), 2)
        if model.local_response_norm:
            stem.append(nn.LocalResponseNorm(5))
        count = sum(model.blocks) + len(model.units) - 1
        if model.per_activation_blocks > count:
            raise ConfigError(
                f"model.per_activation_blocks={model.per_activation_blocks}: this Inception has {count} blocks"
            )
        width, blocks = model.stem, []
        for level, (unit, repeats) in enumerate(zip(model.units, model.blocks, strict=True)):
            stage = [Columns(2 * unit, 2 * unit, 2 * unit, 2 * unit, 3 * unit, unit)] * repeats
            if level + 1 < len(model.units):
                stage.append(Columns(0, 2 * unit, 3 * unit, 2 * unit, 3 * unit, 0, "max", 2))
            for index, columns in enumerate(stage):
                own = side if len(blocks) >= count - model.per_activation_blocks else None
                blocks.append(InceptionBlock(recipe, width, columns, f"blocks.{level}.{index}", own))
                width, side = blocks[-1].outputs, divided(side, columns.stride)
        super().__init__(recipe, nn.Sequential(*stem), nn.Sequential(*blocks), width, classes)


NETWORK = Inception
