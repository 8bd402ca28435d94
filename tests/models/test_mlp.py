"""The network of §4.1, and that arms of one seed start from the same weights wherever they have the same layer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from bnrepro.config.schema import Config
from bnrepro.errors import ConfigError
from bnrepro.models import build_model


@pytest.fixture
def build(small: Callable[..., Config]) -> Callable[..., nn.Module]:
    return lambda *overrides, shape=(1, 8, 8): build_model(small(*overrides), shape, 10)


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value for name, value in model.state_dict().items() if ".linear.weight" in name or "output" in name}


def test_the_papers_network_has_its_parameters(composed: Callable[..., list[Config]]) -> None:
    [plain], [normalised] = composed("norm=none", "seed=0"), composed("norm=batch", "seed=0")
    count = 784 * 100 + 100 + 2 * (100 * 100 + 100) + 100 * 10 + 10
    for config, expected in ((plain, count), (normalised, count - 300 + 2 * 300)):
        model = build_model(config, (1, 28, 28), 10)
        assert sum(p.numel() for p in model.parameters()) == expected
        assert model(torch.zeros(3, 1, 28, 28)).shape == (3, 10)
        assert [type(block.activation) for block in model.hidden] == [nn.Sigmoid] * 3  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "other", [("norm=batch",), ("norm=batch", "placement=after"), ("norm=none", "model.dropout=0.3")]
)
def test_arms_of_one_seed_share_the_weights_of_all_common_layers(
    build: Callable[..., nn.Module], other: tuple[str, ...]
) -> None:
    one, two = weights(build("norm=none", "seed=3")), weights(build(*other, "seed=3"))
    assert one.keys() == two.keys()
    assert len(one) == 4
    for name in one:
        assert torch.equal(one[name], two[name]), name


def test_a_layer_keeps_its_weights_if_another_is_added(build: Callable[..., nn.Module]) -> None:
    shallow, deep = weights(build("model.hidden=[12,8]")), weights(build("model.hidden=[12,8,8]"))
    for name in ("hidden.0.linear.weight", "hidden.1.linear.weight", "output.weight"):
        assert torch.equal(shallow[name], deep[name])


def test_same_seed_same_weights_other_seed_other_weights(build: Callable[..., nn.Module]) -> None:
    one = weights(build("seed=1"))
    torch.manual_seed(5)
    again, other = weights(build("seed=1")), weights(build("seed=2"))
    for name, value in one.items():
        assert torch.equal(value, again[name])
        assert value.eq(0).all() or not torch.equal(value, other[name])


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_the_first_layer_alone_starts_larger(build: Callable[..., nn.Module], norm: str) -> None:
    plain, larger = weights(build(f"norm={norm}")), weights(build(f"norm={norm}", "model.first_layer_scale=10"))
    assert torch.equal(larger.pop("hidden.0.linear.weight"), 10 * plain.pop("hidden.0.linear.weight"))
    assert all(torch.equal(larger[name], plain[name]) for name in plain)


def test_no_two_layers_start_alike(build: Callable[..., nn.Module]) -> None:
    model = build("model.hidden=[10,10,10]", shape=(10,))
    layers = [model.hidden[i].linear.weight for i in range(3)] + [model.output.weight]  # type: ignore[union-attr, index]
    for i, one in enumerate(layers):
        assert not any(torch.equal(one, other) for other in layers[i + 1 :])


@pytest.mark.parametrize(
    ("overrides", "std"),
    [(("model.init_scale=0.3",), 0.3), (("model.init=kaiming", "model.init_scale=2"), 2 * (2 / 400) ** 0.5)],
)
def test_initial_weights_are_gaussian_with_the_scale_asked_for(
    build: Callable[..., nn.Module], overrides: tuple[str, ...], std: float
) -> None:
    model = build("model.hidden=[300]", *overrides, shape=(1, 20, 20))
    weight = model.hidden[0].linear.weight.detach()  # type: ignore[union-attr, index]
    assert weight.std().item() == pytest.approx(std, rel=0.02)
    assert weight.mean().abs().item() < 0.02 * std
    assert (weight.abs() < std).double().mean().item() == pytest.approx(0.6827, abs=0.01)
    assert model.output.bias.eq(0).all()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("overrides", "bias"),
    [(("norm=none",), True), (("norm=batch",), False), (("norm=batch", "placement=after"), True)],
)
def test_the_bias_is_dropped_where_a_normaliser_follows_directly(
    build: Callable[..., nn.Module], overrides: tuple[str, ...], bias: bool
) -> None:
    for block in build(*overrides).hidden:  # type: ignore[union-attr]
        assert (block.linear.bias is not None) is bias  # type: ignore[union-attr]


@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_a_block_is_g_of_bn_or_bn_of_g(build: Callable[..., nn.Module], activation: str) -> None:
    x = torch.randn(30, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    g = {"sigmoid": torch.sigmoid, "relu": torch.relu}[activation]

    def bn(z: torch.Tensor) -> torch.Tensor:
        return (z - z.mean(0)) / (z.var(0, correction=0) + 1e-5).sqrt()

    for placement in ("before", "after"):
        block = build("norm=batch", f"placement={placement}", f"model.activation={activation}").hidden[0]  # type: ignore[union-attr, index]
        u = x.flatten(1)
        wu = u @ block.linear.weight.T  # type: ignore[union-attr]
        expected = g(bn(wu)) if placement == "before" else bn(g(wu))
        torch.testing.assert_close(block(u), expected, atol=1e-5, rtol=1e-5)  # type: ignore[operator]


def test_dropout_drops_in_training_alone(build: Callable[..., nn.Module]) -> None:
    model, x = build("norm=none", "model.dropout=0.5"), torch.ones(4, 1, 8, 8)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))
    assert torch.equal(model(x), build("norm=none").eval()(x))


def test_a_single_class_is_refused(small: Callable[..., Config]) -> None:
    with pytest.raises(ConfigError, match="the data has 1 class"):
        build_model(small(), (1, 8, 8), 1)
