"""The layer behind ``norm=batch`` is the library's, and whatever cannot be built is refused by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from bnrepro.errors import ConfigError
from bnrepro.norm import BatchNorm, layers_with_running_statistics, make_norm

BATCH = {"name": "batch", "_target_": "bnrepro.norm.BatchNorm", "eps": 1e-5, "momentum": 0.1, "affine": True}


@pytest.mark.parametrize(
    ("shape", "library"), [((6, 4), nn.BatchNorm1d), ((6, 4, 3), nn.BatchNorm1d), ((6, 4, 3, 5), nn.BatchNorm2d)]
)
def test_batch_is_the_librarys_layer_bit_for_bit(shape: tuple[int, ...], library: type[nn.Module]) -> None:
    own: Any = make_norm(BATCH, 4)
    theirs = library(4)
    assert own.state_dict().keys() == theirs.state_dict().keys()
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        x = torch.randn(shape, generator=generator)
        assert torch.equal(own(x), theirs(x))
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in own.state_dict().items())
    own.eval(), theirs.eval()
    assert torch.equal(own(x), theirs(x))


@pytest.mark.parametrize("shape", [(4,), (2, 4, 2, 2, 2)])
def test_other_ranks_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(N, C\)"):
        BatchNorm(4)(torch.zeros(shape))


def test_every_setting_reaches_the_layer() -> None:
    layer: Any = make_norm({**BATCH, "eps": 0.5, "momentum": 0.3, "affine": False}, 7)
    assert (layer.num_features, layer.eps, layer.momentum, layer.weight) == (7, 0.5, 0.3, None)


def test_none_is_no_layer_at_all() -> None:
    assert make_norm({"name": "none"}, 4) is None


@pytest.mark.parametrize(
    "norm",
    [
        {**BATCH, "epsilon": 1.0},
        {"_target_": "bnrepro.norm.NoSuchLayer"},
        {"_target_": "no_such_package.Layer"},
        {"name": "group", "_target_": "torch.nn.GroupNorm", "num_channels": 5, "wrong": 3},
    ],
)
def test_a_layer_that_cannot_be_built_is_named(norm: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"norm={norm.get('name', norm['_target_'])} cannot be built"):
        make_norm(norm, 4)


def test_a_users_layer_takes_the_number_of_features() -> None:
    layer = make_norm({"name": "mine", "_target_": "torch.nn.LayerNorm", "eps": 0.25}, 6)
    assert isinstance(layer, nn.LayerNorm)
    assert (layer.normalized_shape, layer.eps) == ((6,), 0.25)


def test_who_has_running_statistics() -> None:
    assert layers_with_running_statistics(BatchNorm(3))
    assert not layers_with_running_statistics(BatchNorm(3, track_running_stats=False))
    assert not layers_with_running_statistics(nn.LayerNorm(3))
    assert not layers_with_running_statistics(nn.Linear(3, 3))


def test_normalised_inputs_have_mean_beta_and_deviation_gamma() -> None:
    layer: Any = make_norm(BATCH, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([0.5, 2.0, 3.0]))
        layer.bias.copy_(torch.tensor([-1.0, 0.0, 4.0]))
    x = 5 + 7 * torch.randn(500, 3, generator=torch.Generator().manual_seed(1))
    y = layer(x)
    torch.testing.assert_close(y.mean(0), layer.bias.detach(), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.std(0, correction=0), layer.weight.detach(), atol=1e-4, rtol=0)
