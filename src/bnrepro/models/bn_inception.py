"""The paper's own network, for 224×224 images: the Inception variant that its appendix documents (Fig. 5)."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

from torch import Tensor, nn

from bnrepro.config.schema import BNInceptionConfig, ModelConfig
from bnrepro.errors import ConfigError
from bnrepro.models.blocks import Activated, ConvBlock, Recipe, initialise
from bnrepro.models.inception import Columns, InceptionBlock, InceptionNetwork
from bnrepro.norm import make_norm

# The rows of Fig. 5 from 3a on, as printed:
#             1×1  3×3r  3×3  d3×3r d3×3  pool + projection
TABLE: dict[str, Columns] = {
    "3a": Columns(64, 64, 64, 64, 96, 32),
    "3b": Columns(64, 64, 96, 64, 96, 64),
    "3c": Columns(0, 128, 160, 64, 96, 0, "max", stride=2),
    "4a": Columns(224, 64, 96, 96, 128, 128),
    "4b": Columns(192, 96, 128, 96, 128, 128),
    "4c": Columns(160, 128, 160, 128, 160, 128),
    "4d": Columns(96, 128, 192, 160, 192, 128),
    "4e": Columns(0, 128, 192, 192, 256, 0, "max", stride=2),
    "5a": Columns(352, 192, 320, 160, 224, 128),
    "5b": Columns(352, 192, 320, 192, 224, 128, "max"),
}
STEM = (64, 64, 192)
"""Outputs of the rows above 3a: the 7×7 convolution, the reduction before the 3×3 convolution, that convolution."""
DEPTH_MULTIPLIER = 8
SMALLEST = 32
"""Five layers halve the image. A smaller one would shrink to a single position before the last of them, whose
convolutions would then see one value and padding."""


def columns(projection_4cd: int) -> dict[str, Columns]:
    """The blocks of ``TABLE`` with ``projection_4cd`` channels in the pool projections of 4c and 4d.

    With the 128 that the table prints, these two blocks have 608 outputs, and 4e has 1,056. The table prints 576 and
    1,024, which a projection of 96 gives.
    """
    return TABLE | {name: replace(TABLE[name], projection=projection_4cd) for name in ("4c", "4d")}


class SeparableBlock(Activated):
    """A separable convolution, its normalisation over the channels and its activation.

    Each input channel is convolved with ``DEPTH_MULTIPLIER`` kernels of its own; a 1×1 convolution then mixes all the
    results (appendix), with nothing between the two. GoogLeNet's first layer is already separable: Szegedy et al. 2014,
    Table 1, gives it 2.7 thousand parameters; a separable convolution has 2,712, a plain one 9,408.
    (N, inputs, H, W) → (N, outputs, H/stride, W/stride), rounded up.
    """

    def __init__(
        self, recipe: Recipe[ModelConfig], inputs: int, outputs: int, kernel: int, name: str, stride: int = 1
    ) -> None:
        super().__init__()
        norm = make_norm(recipe.norm, outputs)
        bias = norm is None or recipe.placement == "after"
        between = DEPTH_MULTIPLIER * inputs
        self.depthwise = nn.Conv2d(inputs, between, kernel, stride, kernel // 2, groups=inputs, bias=False)
        self.pointwise = nn.Conv2d(between, outputs, 1, bias=bias)
        initialise(self.depthwise, recipe, f"{name}.depthwise")
        initialise(self.pointwise, recipe, f"{name}.pointwise")
        self._complete(recipe, norm)

    def forward(self, x: Tensor) -> Tensor:
        return self._activate(self.pointwise(self.depthwise(x)), self.pointwise)


class BNInception(InceptionNetwork):
    """The stem and the ten Inception blocks of ``TABLE``.

    Each convolution and pool of stride 2 in the stem, and each of 3c and 4e, halves the image: 224 → 112 → 56 → 28 →
    14 → 7. The mean over all positions is then the paper's 7×7 average pool; it also fits images of other sizes, where
    a pool of 7×7 would not. ``example_shape`` is (C, H, W). Raises :class:`ConfigError` for anything but images of at
    least 32×32.
    """

    def __init__(self, recipe: Recipe[BNInceptionConfig], example_shape: tuple[int, ...], classes: int) -> None:
        if len(example_shape) != 3 or min(example_shape[1:]) < SMALLEST:
            raise ConfigError(
                f"model=bn_inception: it halves images five times and needs at least {SMALLEST}×{SMALLEST}, but the "
                f"examples are {'×'.join(map(str, example_shape))}; the paper's images are 224×224. Small images can "
                f"be enlarged: data.enlarge={SMALLEST}"
            )
        model = recipe.model
        first, reduced, width = STEM
        seven = SeparableBlock if model.separable_stem else ConvBlock
        stem: list[tuple[str, nn.Module]] = [
            ("conv1", seven(recipe, example_shape[0], first, 7, "stem.conv1", 2)),
            ("pool1", nn.MaxPool2d(3, 2, 1)),
            ("reduce2", ConvBlock(recipe, first, reduced, 1, "stem.reduce2")),
            ("conv2", ConvBlock(recipe, reduced, width, 3, "stem.conv2")),
            ("pool2", nn.MaxPool2d(3, 2, 1)),
        ]
        if model.local_response_norm:
            # GoogLeNet has them after the first pool and before the second.
            stem.insert(4, ("lrn2", nn.LocalResponseNorm(5)))
            stem.insert(2, ("lrn1", nn.LocalResponseNorm(5)))
        blocks: dict[str, InceptionBlock] = {}
        for name, widths in columns(model.pool_projection_4cd).items():
            blocks[name] = InceptionBlock(recipe, width, widths, f"blocks.{name}")
            width = blocks[name].outputs
        super().__init__(recipe, nn.Sequential(OrderedDict(stem)), nn.Sequential(OrderedDict(blocks)), width, classes)


NETWORK = BNInception
