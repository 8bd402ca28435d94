"""Filter response normalisation and its TLU against Singh & Krishnan's eqs. 1 to 3 in numpy, gradients by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from norm_formulas import SHAPES, drawn, error, over_all_but_channels, per_channel, randomised
from torch import nn

from bnrepro.config.schema import Config
from bnrepro.models import build_model
from bnrepro.models.blocks import PerActivation
from bnrepro.norm import FilterResponseNorm
from bnrepro.norm.filter_response import ThresholdedLinear

EPS = 0.02


def by_hand(x: np.ndarray, slope: np.ndarray, given: dict[str, np.ndarray], axes: Any = None) -> Any:
    """y = γ x/r + β with r² = ν² + ε; dx = γ dy/r − x Σ(γ dy x)/(N r³), dε = −½ Σ γ dy x/r³."""
    axes = tuple(range(2, x.ndim)) if axes is None else axes
    eps = EPS + np.abs(given["eps_l"])
    root = np.sqrt((x**2).mean(axes, keepdims=True) + eps)
    gamma, n = per_channel(given["weight"], x), np.prod([x.shape[axis] for axis in axes])
    slopes = {
        "x": gamma * slope / root - x * (gamma * slope * x).sum(axes, keepdims=True) / (n * root**3),
        "eps_l": -0.5 * (gamma * slope * x / root**3).sum().reshape(1) * np.sign(given["eps_l"]),
        "weight": over_all_but_channels(slope * x / root),
        "bias": over_all_but_channels(slope),
    }
    return gamma * x / root + per_channel(given["bias"], x), slopes


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_those_of_the_formula(shape: tuple[int, ...], sign: int) -> None:
    layer: Any = randomised(FilterResponseNorm(5, eps=EPS))
    layer.eps_l.data.mul_(sign)
    assert error(layer, shape, by_hand) < 1e-12
    assert error(layer, shape, lambda *given: by_hand(*given, axes=(1,))) > 0.01
    assert torch.autograd.gradcheck(layer, drawn(shape).requires_grad_())


def test_a_fixed_epsilon_leaves_the_sign_of_a_single_value() -> None:
    layer, x = FilterResponseNorm(5, eps=1e-12, learned_eps=None).double(), drawn((7, 5))
    np.testing.assert_allclose(layer(x).detach().numpy(), np.sign(x.numpy()), rtol=1e-6)
    assert "eps_l" not in dict(layer.named_parameters())


@pytest.mark.parametrize("shape", SHAPES)
def test_the_tlu_is_a_maximum_with_a_learned_threshold(shape: tuple[int, ...]) -> None:
    def formula(x: np.ndarray, slope: np.ndarray, given: dict[str, np.ndarray]) -> Any:
        threshold = per_channel(given["threshold"], x)
        above = x > threshold
        slopes = {"x": slope * above, "threshold": over_all_but_channels(slope * ~above)}
        return np.maximum(x, threshold), slopes

    layer = randomised(ThresholdedLinear(5))
    assert error(layer, shape, formula) < 1e-13
    at_it = torch.zeros(1, 5, requires_grad=True)
    ThresholdedLinear(5)(at_it).sum().backward()
    assert torch.equal(at_it.grad, torch.zeros(1, 5))  # type: ignore[arg-type]


def test_it_takes_the_place_of_a_relu_and_of_nothing_else(small: Callable[..., Config]) -> None:
    def activations(*overrides: str) -> list[nn.Module]:
        model = build_model(small("norm=filter_response", *overrides), (1, 8, 8), 10)
        return [block.activation for block in model.hidden]  # type: ignore[union-attr]

    for placement in ("before", "after"):
        found = activations("model.activation=relu", f"placement={placement}")
        assert [type(each) for each in found] == [ThresholdedLinear] * 2
        assert [len(each.threshold) for each in found] == [12, 8]  # type: ignore[arg-type]
    assert [type(each) for each in activations("model.activation=sigmoid")] == [nn.Sigmoid] * 2
    assert [type(each) for each in activations("model.activation=relu", "norm.tlu=false")] == [nn.ReLU] * 2


def test_where_every_activation_is_normalised_by_itself_each_has_a_threshold(composed: Callable[..., Any]) -> None:
    [config] = composed("model=inception", "data=digits", "norm=filter_response", "model.per_activation_blocks=1")
    last: Any = build_model(config, (3, 32, 32), 10).blocks[-1].branches[0]  # type: ignore[index]
    assert isinstance(last.activation, PerActivation)
    assert len(last.activation.norm.threshold) == 16 * 4 * 4  # type: ignore[arg-type]
    assert last(torch.randn(2, 48 + 36, 4, 4)).shape == (2, 16, 4, 4)
