"""Random numbers and layers for the exact measurements, in float64."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

Layer = Callable[..., Tensor]
"""z(u, w) or z(u, w, b): inputs u, weights w, biases b."""


def normal(gen: torch.Generator, *shape: int) -> Tensor:
    """Standard normal numbers of ``shape``."""
    return torch.randn(*shape, dtype=torch.float64, generator=gen)


def layers(gen: torch.Generator, examples: int, features: int) -> dict[str, tuple[Layer, Tensor, Tensor]]:
    """A ``linear`` layer and a 3×3 ``convolution``, each with random inputs and weights.

    The inputs are (examples, features) and (examples/4, features/4, 8, 8).
    """
    few, narrow = examples // 4, features // 4
    return {
        "linear": (F.linear, normal(gen, examples, features), normal(gen, features, features)),
        "convolution": (
            partial(F.conv2d, padding=1), normal(gen, few, narrow, 8, 8), normal(gen, narrow, narrow, 3, 3),
        ),
    }  # fmt: skip
