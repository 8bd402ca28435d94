"""RMS normalisation against Zhang & Sennrich's eq. 4 in numpy, with the gradient by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from norm_formulas import SHAPES, drawn, error, over_all_but_channels, per_channel, randomised

from bnrepro.norm import LayerNorm, RMSNorm

EPS = 0.03


def by_hand(x: np.ndarray, slope: np.ndarray, given: dict[str, np.ndarray], axes: Any = None) -> Any:
    """y = g x/R + b with R² = mean x² + ε; dx = g dy/R − x Σ(g dy x)/(n R³), over the features of an example."""
    axes = tuple(range(1, x.ndim)) if axes is None else axes
    root = np.sqrt((x**2).mean(axes, keepdims=True) + EPS)
    gain = per_channel(given["weight"], x)
    n = np.prod([x.shape[axis] for axis in axes])
    dx = gain * slope / root - x * (gain * slope * x).sum(axes, keepdims=True) / (n * root**3)
    slopes = {"x": dx, "weight": over_all_but_channels(slope * x / root), "bias": over_all_but_channels(slope)}
    return gain * x / root + per_channel(given["bias"], x), slopes


@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_those_of_the_formula(shape: tuple[int, ...]) -> None:
    layer = randomised(RMSNorm(5, eps=EPS))
    assert error(layer, shape, by_hand) < 1e-12
    assert error(layer, shape, lambda *given: by_hand(*given, axes=(0,))) > 0.01
    assert torch.autograd.gradcheck(layer, drawn(shape).requires_grad_())


def test_the_scale_of_an_example_does_not_matter_but_its_mean_does() -> None:
    layer, x = RMSNorm(5, eps=1e-30).double(), drawn((7, 5))
    scales = torch.logspace(-3, 3, 7, dtype=torch.float64)[:, None]
    torch.testing.assert_close(layer(scales * x), layer(x), rtol=1e-12, atol=0)
    assert (layer(x + 1) - layer(x)).abs().max() > 0.1
    plain = LayerNorm(5, eps=1e-30).double()
    torch.testing.assert_close(plain(x + 1), plain(x), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(layer(x - x.mean(1, keepdim=True)), plain(x), rtol=1e-9, atol=1e-12)


def test_zeros_stay_finite_and_without_affine_nothing_is_learned() -> None:
    layer = RMSNorm(3, affine=False)
    assert torch.equal(layer(torch.zeros(2, 3)), torch.zeros(2, 3))
    assert not list(layer.parameters())
