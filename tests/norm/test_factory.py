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
        {"_target_": "os.getcwd"},
        {"_target_": "torch.nn.Linear"},
        {"_target_": "torch.zeros"},
        {"_target_": "collections.Counter"},
    ],
)
def test_a_layer_that_cannot_be_built_is_named(norm: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"norm={norm.get('name', norm['_target_'])} cannot be built") as caught:
        make_norm(norm, 4)
    assert len(str(caught.value).splitlines()) == 1
    assert "HYDRA" not in str(caught.value)


BATCHES = tuple(f"bnrepro.norm.{kind}BatchNorm" for kind in ("", "Noisy", "Reference", "Ghost"))
EPS = (
    *BATCHES, "bnrepro.norm.GroupNorm", "bnrepro.norm.LayerNorm", "torch.nn.InstanceNorm2d", "torch.nn.BatchNorm1d",
    "bnrepro.norm.RMSNorm", "bnrepro.norm.FilterResponseNorm",
)  # fmt: skip
OUT_OF_RANGE = [
    *((target, "eps", value) for target in EPS for value in (0, 0.0, -1, float("inf"), float("nan"), "small", True)),
    *((target, "momentum", value) for target in BATCHES for value in (2, -0.1, float("nan"), "fast")),
    ("torch.nn.InstanceNorm2d", "momentum", 2),
    ("bnrepro.norm.pitfalls.ZCAWhitening", "momentum", 2),
    *((target, "affine", "no") for target in EPS),
    *(("bnrepro.norm.GroupNorm", "num_groups", value) for value in (0, -1, 2.5, True, "all")),
    *(("bnrepro.norm.NoisyBatchNorm", name, float("inf")) for name in ("mean", "scale", "spread")),
    ("bnrepro.norm.NoisyBatchNorm", "scale", 0.5),
    *(("bnrepro.norm.GhostBatchNorm", "ghost_size", value) for value in (1, 0, -20, 2.5, "all")),
    *(("bnrepro.norm.FilterResponseNorm", "learned_eps", value) for value in (0, -1e-4, "small")),
    *(("bnrepro.norm.FilterResponseNorm", "tlu", value) for value in ("no", 1)),
    *(("bnrepro.norm.DynamicTanh", "alpha", value) for value in (0, -1, float("inf"), "half")),
    *(("bnrepro.norm.WeightNorm", name, value) for name, value in (("eps", 0), ("eps", -1), ("from_data", "no"))),
]


RENORM = {"name": "chosen", "_target_": "bnrepro.norm.BatchRenorm", "steps": 100}


@pytest.mark.parametrize(
    ("name", "value"),
    [("eps", 0), ("momentum", 2), ("momentum", None), ("affine", "no"), ("steps", -1), ("steps", 0.5), ("r_max", 0.9),
     ("d_max", -1), ("hold", 0.5), ("d_relaxed", 0), ("r_relaxed", "late")],
)  # fmt: skip
def test_so_is_one_of_batch_renormalisation(name: str, value: object) -> None:
    assert isinstance(make_norm(RENORM, 4), nn.Module)
    with pytest.raises(ConfigError, match=f"norm=chosen cannot be built: .*{name}"):
        make_norm({**RENORM, name: value}, 4)


@pytest.mark.parametrize(("target", "name", "value"), OUT_OF_RANGE)
def test_a_value_out_of_its_range_is_refused_by_name(target: str, name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"norm=chosen cannot be built: .*{name}"):
        make_norm({"name": "chosen", "_target_": target, name: value}, 4)


class Picky(nn.Module):
    """A user's own class, which checks its number itself and declares the types of its settings."""

    def __init__(self, num_features: int, power: float, kind: str | None = None, over: list[int] | None = None) -> None:
        super().__init__()
        if power > 3:
            raise ValueError(f"power={power} is above 3")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"power": 4}, "ValueError: power=4 is above 3"),
        ({"power": "two"}, "power='two' must be a number"),
        ({"power": 2, "kind": 5}, "kind=5 must be a text or null"),
        ({"power": 1, "kind": None, "over": [1]}, None),
    ],
)
def test_a_users_own_class_checks_its_numbers(settings: dict[str, Any], told: str | None) -> None:
    norm = {"name": "mine", "_target_": f"{__name__}.Picky", **settings}
    if told is None:
        assert isinstance(make_norm(norm, 4), nn.Module)
    else:
        with pytest.raises(ConfigError, match=f"norm=mine cannot be built: .*{told}"):
            make_norm(norm, 4)


@pytest.mark.parametrize(
    ("target", "shape"), [("GroupNorm", (5, 6)), ("GroupNorm", (5, 6, 1, 1)), ("LayerNorm", (5, 1))]
)
def test_a_group_of_one_value_is_refused_where_it_shows(target: str, shape: tuple[int, ...]) -> None:
    layer: Any = make_norm({"name": "x", "_target_": f"bnrepro.norm.{target}"}, shape[1])
    with pytest.raises(ValueError, match="have no variance"):
        layer(torch.randn(shape))
    assert layer(torch.randn(5, shape[1], 2, 1)).isfinite().all()


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
