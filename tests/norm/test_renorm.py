"""Batch renormalisation against Ioffe's Algorithm 1, step by step in numpy, with its schedule and its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from norm_formulas import SHAPES, drawn, error, over_all_but_channels, per_channel, randomised

from bnrepro.config.schema import Config
from bnrepro.norm import BatchNorm, BatchRenorm, freeze, population_statistics

EPS = 0.01


class ByHand:
    """Algorithm 1: the running statistics are μ and σ, and σ is a deviation."""

    def __init__(self, r_max: float, d_max: float, alpha: float) -> None:
        self.mean, self.std = np.zeros(5), np.full(5, np.sqrt(1 + EPS))
        self.r_max, self.d_max, self.alpha = r_max, d_max, alpha

    def step(self, x: np.ndarray, slope: np.ndarray, given: dict[str, np.ndarray], axes: Any = None) -> Any:
        """dx = γr/σ_B (dy − mean dy − x̂_B mean(dy x̂_B)): r and d are constants for the gradient."""
        axes = (0, *range(2, x.ndim)) if axes is None else axes
        mean = x.mean(axes, keepdims=True)
        std = np.sqrt(((x - mean) ** 2).mean(axes, keepdims=True) + EPS)
        old_mean, old_std = per_channel(self.mean, x), per_channel(self.std, x)
        r = np.clip(std / old_std, 1 / self.r_max, self.r_max)
        d = np.clip((mean - old_mean) / old_std, -self.d_max, self.d_max)
        plain = (x - mean) / std
        x_hat, gamma = plain * r + d, per_channel(given["weight"], x)
        along = slope.mean(axes, keepdims=True) + plain * (slope * plain).mean(axes, keepdims=True)
        slopes = {
            "x": gamma * r / std * (slope - along),
            "weight": over_all_but_channels(slope * x_hat),
            "bias": over_all_but_channels(slope),
        }
        if mean.size == 5:
            self.mean = self.mean + self.alpha * (mean.ravel() - self.mean)
            self.std = self.std + self.alpha * (std.ravel() - self.std)
        return gamma * x_hat + per_channel(given["bias"], x), slopes

    def at_inference(self, x: np.ndarray, given: dict[str, np.ndarray]) -> np.ndarray:
        x_hat = (x - per_channel(self.mean, x)) / per_channel(self.std, x)
        return per_channel(given["weight"], x) * x_hat + per_channel(given["bias"], x)


def relaxed(**settings: Any) -> Any:
    """A layer whose bounds are at their final values from the third step on."""
    return randomised(BatchRenorm(5, 10, EPS, hold=0.0, d_relaxed=0.2, r_relaxed=0.2, **settings))


@pytest.mark.parametrize("shape", SHAPES)
def test_values_gradients_and_running_statistics_are_those_of_the_algorithm(shape: tuple[int, ...]) -> None:
    layer, by_hand = relaxed(momentum=0.3, r_max=1.2, d_max=0.3), ByHand(1.0, 0.0, 0.3)
    for step in range(5):
        share = min(step / 2, 1)
        by_hand.r_max, by_hand.d_max = 1 + 0.2 * share, 0.3 * share
        layer.zero_grad()
        assert error(layer, shape, by_hand.step) < 1e-12
        np.testing.assert_allclose(layer.running_mean, by_hand.mean, atol=1e-14)
        np.testing.assert_allclose(torch.sqrt(layer.running_var + EPS), by_hand.std, atol=1e-14)
        assert layer.num_batches_tracked == step + 1
    given = {name: parameter.detach().numpy() for name, parameter in layer.named_parameters()}
    x = drawn(shape, 5)
    np.testing.assert_allclose(layer.eval()(x).detach(), by_hand.at_inference(x.numpy(), given), atol=1e-12)
    layer.train().zero_grad()
    assert error(layer, shape, lambda *given: by_hand.step(*given, axes=(1,))) > 0.01


def test_without_bounds_training_computes_what_inference_will() -> None:
    layer, x = relaxed(momentum=0.1, r_max=1e9, d_max=1e9), drawn((7, 5), 3)
    for seed in range(3):
        layer(drawn((7, 5), seed))
    expected = layer.eval()(x)
    torch.testing.assert_close(layer.train()(x), expected, rtol=1e-12, atol=1e-12)


def test_at_first_it_is_batch_normalisation() -> None:
    layer: Any = randomised(BatchRenorm(5, steps=1000, hold=0.01))
    plain: Any = BatchNorm(5).double()
    plain.load_state_dict(layer.state_dict())
    for step in range(13):
        x = drawn((7, 5), step)
        far = (layer(x) - plain(x)).abs().max()
        assert far < 1e-12 if step <= 10 else far > 1e-4


@pytest.mark.parametrize(
    ("done", "r_max", "d_max"),
    [
        (0, 1, 0), (5000, 1, 0), (15_000, 1 + 2 * 10 / 35, 2.5), (25_000, 1 + 2 * 20 / 35, 5), (40_000, 3, 5),
        (90_000, 3, 5),
    ],
)  # fmt: skip
def test_the_schedule_is_the_papers_for_a_run_of_its_length(done: int, r_max: float, d_max: float) -> None:
    layer = BatchRenorm(5, 125_000, hold=0.04, d_relaxed=0.2, r_relaxed=0.32)
    assert [bound.item() for bound in layer.bounds(torch.tensor(done))] == pytest.approx([r_max, d_max])


def test_the_length_of_a_run_is_that_of_its_configuration(small: Callable[..., Config]) -> None:
    assert small("norm=batch_renorm", "steps=77").norm["steps"] == 77


def test_algorithm_2_estimates_its_statistics_anew() -> None:
    layer: Any = relaxed(momentum=0.1)
    layer(drawn((7, 5)))
    network = torch.nn.Sequential(layer)
    batches = [drawn((7, 5), seed) for seed in range(4)]
    frozen = freeze(network, population_statistics(network, batches))
    mean = np.mean([batch.numpy().mean(0) for batch in batches], 0)
    var = np.mean([batch.numpy().var(0, ddof=1) for batch in batches], 0)
    x, gamma, beta = drawn((3, 5), 9), layer.weight.detach().numpy(), layer.bias.detach().numpy()
    np.testing.assert_allclose(frozen(x), gamma * (x.numpy() - mean) / np.sqrt(var + EPS) + beta, atol=1e-12)


@pytest.mark.parametrize(
    "wrong", [{"r_max": 0.9}, {"d_max": -1.0}, {"steps": -1}, {"hold": 0.3}, {"hold": -0.1}, {"r_relaxed": 0.01}]
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}="):
        BatchRenorm(3, **{"steps": 10, **wrong})
    with pytest.raises(ValueError, match="at least 2 values"):
        BatchRenorm(3, 10)(torch.zeros(1, 3))
