"""Normalisation of every activation by itself (§4.2.3), the Inception that has it, and the ensemble's arms."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bnrepro.config.identity import arm_label, scientific
from bnrepro.config.schema import Config, InceptionConfig
from bnrepro.errors import ConfigError
from bnrepro.models import build_model
from bnrepro.models.blocks import ConvBlock, PerActivation, Recipe, divided
from bnrepro.models.inception import Columns, InceptionBlock
from bnrepro.norm import BatchNorm, ReferenceBatchNorm, layers_with_running_statistics, population_statistics

Composed = Callable[..., list[Config]]
BATCH = {"name": "batch", "_target_": "bnrepro.norm.BatchNorm"}
DIGITS = ("model=inception", "data=digits", "data.enlarge=32", "norm=batch")
CHANGES = {
    "member_init": {"init_scale": 1.5},
    "member_dropout5": {"dropout": 0.05},
    "member_dropout10": {"dropout": 0.1},
    "member_per_activation": {"per_activation_blocks": 1},
    "member_init_dropout5": {"init_scale": 1.5, "dropout": 0.05},
    "member_per_activation_dropout10": {"per_activation_blocks": 1, "dropout": 0.1},
}


def by_hand(x: Tensor, eps: float) -> Tensor:
    return (x - x.mean(0)) / (x.var(0, correction=0) + eps).sqrt()


@pytest.mark.parametrize("layer", [BatchNorm, ReferenceBatchNorm])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_every_position_has_statistics_of_its_own(layer: type[nn.Module], layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    # Positions that differ in mean and in spread: one mean a channel would not do.
    scale = torch.linspace(0.5, 4, 3 * 2 * 5).view(3, 2, 5)
    x = (torch.randn(8, 3, 2, 5) * scale + 10 * scale).contiguous(memory_format=layout)
    y = PerActivation(layer(30, eps=1e-3))(x)
    assert y.shape == x.shape
    assert torch.allclose(y, by_hand(x, 1e-3), atol=1e-5)
    assert not torch.allclose(y, nn.BatchNorm2d(3, eps=1e-3)(x), atol=0.1)


def test_two_examples_at_one_position_computed_in_the_head() -> None:
    # Channel 0 holds 1 and 3 at its first position, 10 and 20 at its second: ±1 each. Channel 1 is constant.
    x = torch.tensor([[[[1.0, 10.0]], [[5.0, 5.0]]], [[[3.0, 20.0]], [[5.0, 5.0]]]])
    y = PerActivation(BatchNorm(4, eps=1e-12))(x)
    assert torch.allclose(y, torch.tensor([[[[-1.0, -1.0]], [[0.0, 0.0]]], [[[1.0, 1.0]], [[0.0, 0.0]]]]), atol=1e-5)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_inference_uses_running_statistics_of_every_position(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    inner = BatchNorm(12, momentum=1.0, eps=1e-3)
    layer = PerActivation(inner)
    x = torch.randn(16, 3, 2, 2).contiguous(memory_format=layout) + torch.arange(12.0).view(3, 2, 2)
    layer(x)
    assert inner.running_mean is not None
    assert inner.running_mean.shape == (12,)
    assert layers_with_running_statistics(inner)
    layer.eval()
    one = layer(x[:1])
    expected = (x[:1] - x.mean(0)) / (x.var(0) + 1e-3).sqrt()
    assert torch.allclose(one, expected, atol=1e-5)
    # The same map whatever layout the image comes in: training and inference may differ in it.
    assert torch.equal(one, layer(x[:1].contiguous()))


def test_it_costs_no_copy_where_channels_are_last() -> None:
    x = torch.randn(4, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    seen: list[Tensor] = []

    class Watch(nn.Module):
        def forward(self, flat: Tensor) -> Tensor:
            seen.append(flat)
            return flat

    y = PerActivation(Watch())(x)
    assert torch.equal(y, x)
    assert seen[0].data_ptr() == x.data_ptr()
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_gradient_flows_to_the_input_and_to_every_gamma_and_beta() -> None:
    torch.manual_seed(0)
    inner = BatchNorm(12).double()
    layer = PerActivation(inner)
    x = torch.randn(4, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))
    (layer(x) ** 3).sum().backward()
    for parameter in inner.parameters():
        assert parameter.grad is not None
        assert parameter.grad.shape == (12,)
        assert (parameter.grad != 0).all()


@pytest.mark.parametrize("stride", [1, 2])
def test_a_block_is_made_for_the_positions_that_leave_its_convolutions(stride: int) -> None:
    columns = Columns(2, 2, 3, 2, 3, 1) if stride == 1 else Columns(0, 2, 3, 2, 3, 0, "max", 2)
    block = InceptionBlock(Recipe(InceptionConfig(), BATCH, "before", 0), 4, columns, "b", (7, 5))
    assert block(torch.randn(6, 4, 7, 5)).shape == (6, block.outputs, *divided((7, 5), stride))
    sizes = {name: part.norm.norm.num_features for name, part in block.named_modules() if isinstance(part, ConvBlock)}  # type: ignore[union-attr]
    places = {1: 35, 2: 12}
    assert sorted(sizes.values()) == sorted(
        [2 * 35, 2 * 35, 3 * 35, 2 * 35, 3 * 35, 3 * 35, 35] if stride == 1
        else [2 * 35, 3 * places[2], 2 * 35, 3 * 35, 3 * places[2]]
    )  # fmt: skip


@pytest.mark.parametrize("side", [32, 30, 17])
@pytest.mark.parametrize("blocks", [0, 1, 2, 6])
def test_the_last_blocks_and_no_others_normalise_per_activation(blocks: int, side: int, composed: Composed) -> None:
    config, plain = composed(*DIGITS, f"model.per_activation_blocks={blocks},0")[0], composed(*DIGITS)[0]
    model = build_model(config, (3, side, side), 10)
    changed = [any(isinstance(part, PerActivation) for part in block.modules()) for block in model.blocks]  # type: ignore[union-attr]
    assert changed == [False] * (6 - blocks) + [True] * blocks
    assert model(torch.randn(4, 3, side, side)).shape == (4, 10)
    # Every weight that is not a normaliser's is the one of the network without.
    usual = dict(build_model(plain, (3, side, side), 10).named_parameters())
    shared = {name: weight for name, weight in model.named_parameters() if "norm" not in name}
    assert all(torch.equal(weight, usual[name]) for name, weight in shared.items())
    assert len(shared) == sum("norm" not in name for name in usual)


def test_parameters_of_the_last_block(composed: Composed) -> None:
    usual, own = (
        sum(p.numel() for p in build_model(config, (3, 32, 32), 10).parameters())
        for config in composed(*DIGITS, "model.per_activation_blocks=0,1")
    )
    # Seven convolutions of 16, 16, 16, 16, 24, 24 and 8 channels at 4×4 positions, a γ and a β each.
    assert own - usual == 2 * (16 * 4 + 24 * 2 + 8) * (16 - 1)


def test_a_network_without_normaliser_stays_without(composed: Composed) -> None:
    [config] = composed("model=inception", "data=digits", "norm=none", "model.per_activation_blocks=1")
    model = build_model(config, (3, 32, 32), 10)
    assert not any(isinstance(part, PerActivation) for part in model.modules())


def test_algorithm_2_reaches_its_layers(composed: Composed) -> None:
    [config] = composed(*DIGITS, "model.per_activation_blocks=1")
    model = build_model(config, (3, 32, 32), 10)
    found = population_statistics(model, [torch.randn(8, 3, 32, 32)])
    assert sum(name.endswith("norm.norm") for name in found) == 7


def test_more_blocks_than_there_are_is_refused(composed: Composed) -> None:
    [config] = composed(*DIGITS, "model.per_activation_blocks=7")
    with pytest.raises(ConfigError, match=r"model\.per_activation_blocks=7: this Inception has 6 blocks"):
        build_model(config, (3, 32, 32), 10)


def test_a_network_that_knows_no_such_blocks_is_none_the_wiser(composed: Composed) -> None:
    for model in ("mlp", "bn_inception", "inception"):
        [config] = composed(f"model={model}", "data=digits")
        assert "per_activation_blocks" not in scientific(config)["model"]
    [config] = composed("model=inception", "data=digits", "model.per_activation_blocks=2")
    assert scientific(config)["model"]["per_activation_blocks"] == 2


def test_the_arms_of_the_ensemble_are_what_they_say(composed: Composed) -> None:
    members = composed("experiment=ensemble_members", "seed=0")
    [whole] = composed("experiment=ensemble_members", "arm=bn_x30", "seed=0")
    assert [arm_label(config) for config in members] == list(CHANGES)
    for config in members:
        expected = scientific(whole)
        expected["model"] = expected["model"] | CHANGES[arm_label(config)]
        assert scientific(config) == expected
        assert config.keep_weights


def test_the_members_train_as_long_as_declared(composed: Composed) -> None:
    found = {
        profile: (len(configs), configs[0].steps)
        for profile in ("full", "quick", "smoke")
        if (configs := composed("experiment=ensemble_members", f"profile={profile}"))
    }
    assert found == {"full": (18, 5625), "quick": (6, 60), "smoke": (2, 8)}


def test_an_override_that_contradicts_a_member_is_refused(composed: Composed) -> None:
    with pytest.raises(ConfigError, match=r"contradicts arm=member_init, which stands for model\.init_scale=1\.5"):
        composed("experiment=ensemble_members", "arm=member_init", "model.init_scale=2")
