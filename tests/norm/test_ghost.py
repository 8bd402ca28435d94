"""Ghost batches against Hoffer et al.'s Algorithm 1 in numpy: each by itself, the running statistics in turn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from norm_formulas import SHAPES, drawn, error, over_all_but_channels, per_channel, randomised

from bnrepro.norm import BatchNorm, GhostBatchNorm, freeze, population_statistics

EPS = 0.01


def by_hand(x: np.ndarray, slope: np.ndarray, given: dict[str, np.ndarray], count: int) -> Any:
    """Algorithm 1 of Batch Normalization, with its gradient in closed form, for each ghost batch."""
    parts = []
    for z, s in zip(np.array_split(x, count), np.array_split(slope, count), strict=True):
        axes = (0, *range(2, x.ndim))
        std = np.sqrt(z.var(axes, keepdims=True) + EPS)
        z_hat = (z - z.mean(axes, keepdims=True)) / std
        along = s.mean(axes, keepdims=True) + z_hat * (s * z_hat).mean(axes, keepdims=True)
        parts.append((z_hat, per_channel(given["weight"], x) / std * (s - along)))
    x_hat, dx = (np.concatenate(each) for each in zip(*parts, strict=True))
    slopes = {"x": dx, "weight": over_all_but_channels(slope * x_hat), "bias": over_all_but_channels(slope)}
    return per_channel(given["weight"], x) * x_hat + per_channel(given["bias"], x), slopes


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("size", "count"), [(2, 3), (3, 2), (4, 2), (5, 1), (6, 1), (50, 1)])
def test_values_and_gradients_are_those_of_the_algorithm(shape: tuple[int, ...], size: int, count: int) -> None:
    layer = randomised(GhostBatchNorm(5, size, eps=EPS))
    assert error(layer, shape, lambda *given: by_hand(*given, count=count)) < 1e-12
    layer.zero_grad()
    assert error(layer, shape, lambda *given: by_hand(*given, count=count % 3 + 1)) > 0.01


@pytest.mark.parametrize(("examples", "sizes"), [(60, [20, 20, 20]), (32, [16, 16]), (29, [29]), (3, [3]), (1, [1])])
def test_the_sizes_come_close_to_the_one_asked_for(examples: int, sizes: list[int]) -> None:
    count = GhostBatchNorm(5, 20).count(examples)
    assert [len(part) for part in torch.zeros(examples).tensor_split(count)] == sizes
    assert GhostBatchNorm(5, 2).count(3) == 1  # none is of one example


def test_the_running_statistics_take_in_one_ghost_batch_after_the_other() -> None:
    layer: Any = randomised(GhostBatchNorm(5, 3, eps=EPS, momentum=0.2))
    x = drawn((9, 5))
    layer(x)
    ghosts = x.numpy().reshape(3, 3, 5)
    weights = 0.2 * 0.8 ** np.arange(2, -1, -1)
    np.testing.assert_allclose(layer.running_mean, weights @ ghosts.mean(1), atol=1e-14)
    np.testing.assert_allclose(layer.running_var, 0.8**3 + weights @ ghosts.var(1, ddof=1), atol=1e-14)
    assert layer.num_batches_tracked == 3


def test_ghost_batches_do_not_see_each_other_and_inference_knows_none() -> None:
    layer, x = GhostBatchNorm(5, 4).double(), drawn((8, 5))
    other = torch.cat([x[:4], drawn((4, 5), 7)])
    assert torch.equal(layer(x)[:4], layer(other)[:4])
    plain = BatchNorm(5).double()
    plain.load_state_dict(layer.state_dict())
    assert torch.equal(layer.eval()(x), plain.eval()(x))


def test_a_single_ghost_batch_is_batch_normalisation_bit_for_bit() -> None:
    ghost, plain, x = GhostBatchNorm(5, 8), BatchNorm(5), drawn((8, 5)).float()
    assert torch.equal(ghost(x), plain(x))
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in ghost.state_dict().items())


def test_algorithm_2_estimates_its_statistics_anew() -> None:
    network = torch.nn.Sequential(randomised(GhostBatchNorm(5, 3, eps=EPS)))
    batches = [drawn((9, 5), seed) for seed in range(4)]
    frozen: Any = freeze(network, population_statistics(network, batches))
    np.testing.assert_allclose(frozen[0].running_mean, np.mean([b.numpy().mean(0) for b in batches], 0), atol=1e-13)
    var = np.mean([b.numpy().var(0, ddof=1) for b in batches], 0)
    np.testing.assert_allclose(frozen[0].running_var, var, atol=1e-13)


@pytest.mark.parametrize("size", [1, 0, -3])
def test_a_ghost_batch_of_one_has_no_variance(size: int) -> None:
    with pytest.raises(ValueError, match="ghost_size must be at least 2"):
        GhostBatchNorm(3, size)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        GhostBatchNorm(3, 2)(torch.zeros(1, 3))
