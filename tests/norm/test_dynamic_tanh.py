"""Dynamic tanh against its formula in numpy, with the gradient by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from norm_formulas import SHAPES, drawn, error, over_all_but_channels, per_channel, randomised

from bnrepro.norm import DynamicTanh


def by_hand(x: np.ndarray, slope: np.ndarray, given: dict[str, np.ndarray], squash: Any = np.tanh) -> Any:
    """y = γ t + β with t = tanh(αx); dx = γ dy (1 − t²) α and dα = Σ γ dy (1 − t²) x."""
    alpha, gamma = given["alpha"], per_channel(given["weight"], x)
    t = squash(alpha * x)
    inside = gamma * slope * (1 - t**2)
    slopes = {
        "x": inside * alpha,
        "alpha": (inside * x).sum(keepdims=True).reshape(1),
        "weight": over_all_but_channels(slope * t),
        "bias": over_all_but_channels(slope),
    }
    return gamma * t + per_channel(given["bias"], x), slopes


@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_those_of_the_formula(shape: tuple[int, ...]) -> None:
    layer = randomised(DynamicTanh(5))
    assert error(layer, shape, by_hand) < 1e-12
    assert error(layer, shape, lambda *given: by_hand(*given, squash=lambda z: z)) > 0.01
    assert torch.autograd.gradcheck(layer, drawn(shape).requires_grad_())


def test_it_starts_as_tanh_of_half_its_input_and_no_example_sees_another() -> None:
    layer, x = DynamicTanh(5).double(), drawn((7, 5))
    np.testing.assert_allclose(layer(x).detach().numpy(), np.tanh(0.5 * x.numpy()), rtol=1e-14)
    assert torch.equal(layer(x)[:2], layer(x[:2]))
    assert sum(parameter.numel() for parameter in layer.parameters()) == 2 * 5 + 1


@pytest.mark.parametrize("alpha", [0, -0.5, float("inf")])
def test_an_alpha_that_cannot_be_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha"):
        DynamicTanh(3, alpha=alpha)
