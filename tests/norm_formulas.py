"""A normaliser against formulas written in numpy: values and gradients, at parameters away from their start."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

SHAPES = [(7, 5), (6, 5, 3, 4)]
Formula = Callable[..., tuple[np.ndarray, dict[str, np.ndarray]]]
"""(x, slope of y, parameters by name) → y, and the slopes of x and of every parameter by name."""


def drawn(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64) * 1.7 + 0.6


def randomised(layer: nn.Module) -> nn.Module:
    """``layer`` in float64, with parameters between 0.2 and 1.7."""
    generator = torch.Generator().manual_seed(9)
    for parameter in layer.double().parameters():
        parameter.data.copy_(0.2 + 1.5 * torch.rand(parameter.shape, generator=generator, dtype=torch.float64))
    return layer


def per_channel(values: np.ndarray, like: np.ndarray) -> np.ndarray:
    return values.reshape(1, -1, *(1,) * (like.ndim - 2))


def over_all_but_channels(values: np.ndarray) -> np.ndarray:
    return values.sum((0, *range(2, values.ndim)))


def error(layer: nn.Module, shape: tuple[int, ...], formula: Formula) -> float:
    """The largest difference between ``layer`` and ``formula``, in the output or in any gradient."""
    x, slope = drawn(shape).requires_grad_(), drawn(shape, 1)
    y = layer(x)
    y.backward(slope)
    given = {name: parameter.detach().numpy() for name, parameter in layer.named_parameters()}
    expected, slopes = formula(x.detach().numpy(), slope.numpy(), given)
    found = {"x": x.grad} | {name: parameter.grad for name, parameter in layer.named_parameters()}
    assert found.keys() == slopes.keys()
    pairs = [(y.detach(), expected), *((found[name], slopes[name]) for name in slopes)]
    assert all(one is not None and one.shape == other.shape for one, other in pairs)
    return max(float(np.abs(one.numpy() - other).max()) for one, other in pairs if one is not None)
