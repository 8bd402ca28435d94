"""The paper's own network: the sizes that its table prints, what it refuses, its keys, what arms share."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bnrepro.config.schema import BNInceptionConfig, Config
from bnrepro.errors import ConfigError
from bnrepro.models import build_model, memory_format
from bnrepro.models.blocks import Recipe
from bnrepro.models.bn_inception import BNInception, SeparableBlock

Composed = Callable[..., list[Config]]
BATCH, NONE = {"name": "batch", "_target_": "bnrepro.norm.BatchNorm"}, {"name": "none"}
META = torch.device("meta")

# Fig. 5, channels and height: its row for a block of stride 2 prints the size before the stride.
PRINTED = {
    "3a": (256, 28), "3b": (320, 28), "3c": (576, 14), "4a": (576, 14), "4b": (576, 14), "4c": (576, 14),
    "4d": (576, 14), "4e": (1024, 7), "5a": (1024, 7), "5b": (1024, 7),
}  # fmt: skip
STEM = {"conv1": (64, 112), "pool1": (64, 56), "reduce2": (64, 56), "conv2": (192, 56), "pool2": (192, 28)}


def network(norm: dict[str, str] = BATCH, side: int = 224, classes: int = 1000, **keys: object) -> BNInception:
    """The network of ``keys``; under ``torch.device("meta")`` it has shapes and no weights."""
    recipe = Recipe(BNInceptionConfig(**keys), norm, "before", 0)  # type: ignore[arg-type]
    return BNInception(recipe, (3, side, side), classes)


def sizes(model: BNInception, side: int = 224) -> dict[str, tuple[int, int]]:
    """Channels and height after every part of the stem and every block."""
    x, found = torch.empty(2, 3, side, side, device=model.output.weight.device), {}
    for name, part in [*model.stem.named_children(), *model.blocks.named_children()]:
        x = part(x)
        assert x.shape[2] == x.shape[3]
        found[name] = (x.shape[1], x.shape[2])
    return found


# ---------------------------------------------------------------------------------------------------- the table


@pytest.mark.parametrize("separable", [True, False])
def test_every_part_has_the_size_that_the_table_prints(separable: bool) -> None:
    with META:
        model = network(separable_stem=separable)
    assert sizes(model) == STEM | PRINTED
    assert model(torch.empty(2, 3, 224, 224, device="meta")).shape == (2, 1000)


def test_with_the_projections_that_it_prints_it_has_other_channels_than_it_prints() -> None:
    with META:
        found = sizes(network(pool_projection_4cd=128))
    other = {name: size[0] for name, size in found.items() if size != (STEM | PRINTED)[name]}
    assert other == {"4c": 608, "4d": 608, "4e": 1056}


def test_the_mean_over_positions_is_the_average_pool_of_7() -> None:
    model = network(NONE, classes=3).eval()
    positions = torch.rand(1, 1024, 7, 7)
    model.stem = model.blocks = nn.Identity()  # type: ignore[assignment]
    assert torch.allclose(model(positions), model.output(F.avg_pool2d(positions, 7).flatten(1)), atol=1e-6)


def test_images_of_any_size_from_32_on_are_classified() -> None:
    with META:
        model = network(side=32)
    for side in (32, 65, 256):
        assert sizes(model, side)["5b"] == (1024, math.ceil(side / 32))
        assert model(torch.empty(2, 3, side, side, device="meta")).shape == (2, 1000)


@pytest.mark.parametrize("shape", [(3, 31, 32), (1, 8, 8), (784,)])
def test_what_is_no_image_of_32_or_more_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"at least 32×32.*data\.enlarge"):
        BNInception(Recipe(BNInceptionConfig(), BATCH, "before", 0), shape, 10)


# --------------------------------------------------------------------------------------------- keys, arms, steps


OTHERS = ("rms", "batch_renorm", "ghost_batch", "filter_response", "dynamic_tanh")
ANY = [
    (norm, placement)
    for norm in ("none", "batch", "group", "layer", "instance", "reference_batch", *OTHERS)
    for placement in ("before", "after")
]


@pytest.mark.parametrize(("norm", "placement"), [*ANY, ("weight", "before")])
def test_any_normaliser_goes_in_either_place(norm: str, placement: str, composed: Composed) -> None:
    [config] = composed("model=bn_inception", "data=digits", f"norm={norm}", f"placement={placement}")
    model = build_model(config, (3, 64, 64), 10)
    assert isinstance(model, BNInception)
    biases = [name for name, _ in model.named_parameters() if ".conv" in name and name.endswith("conv.bias")]
    assert bool(biases) == (norm == "none" or placement == "after")
    assert memory_format(config) is torch.channels_last


def test_one_step_forward_and_backward_reaches_every_parameter() -> None:
    model = network(side=64, classes=4, dropout=0.2, local_response_norm=True)
    images = torch.rand(2, 3, 64, 64).to(memory_format=torch.channels_last)
    model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    F.cross_entropy(model(images), torch.tensor([0, 3])).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


def test_channels_last_computes_the_same() -> None:
    model, images = network(side=64, classes=4).eval(), torch.rand(2, 3, 64, 64)
    before = model(images)
    model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    assert torch.allclose(before, model(images.to(memory_format=torch.channels_last)), atol=1e-5)


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_the_activation_is_the_configured_one_everywhere(activation: str) -> None:
    with META:
        model = network(side=32, activation=activation)
    kinds = {type(m) for m in model.modules() if isinstance(m, nn.ReLU | nn.Sigmoid)}
    assert kinds == {{"relu": nn.ReLU, "sigmoid": nn.Sigmoid}[activation]}


def test_local_response_normalisation_stands_where_googlenet_has_it() -> None:
    with META:
        without, model = network(side=32), network(side=32, local_response_norm=True)
    assert [name for name, _ in model.stem.named_children()] == [
        "conv1", "pool1", "lrn1", "reduce2", "conv2", "lrn2", "pool2",
    ]  # fmt: skip
    assert not any(isinstance(m, nn.LocalResponseNorm | nn.Dropout) for m in without.modules())


def test_arms_share_the_weights_of_the_layers_they_share() -> None:
    plain, normalised = network(NONE, side=32), network(side=32)
    common = dict(normalised.named_parameters())
    shared = [name for name, _ in plain.named_parameters() if name in common and name.endswith("weight")]
    assert len(shared) == 71
    assert all(torch.equal(plain.get_parameter(name), common[name]) for name in shared)


def test_from_kaiming_the_signal_neither_dies_nor_explodes() -> None:
    scores = network(NONE, side=64).eval()(torch.randn(4, 3, 64, 64))
    assert 0.05 < scores.std() < 20


def test_a_separable_convolution_is_one_convolution_of_rank_one_parts() -> None:
    block = SeparableBlock(Recipe(BNInceptionConfig(), NONE, "before", 0), 3, 16, 7, "b", 2)
    depthwise, mixing = block.depthwise.weight.view(3, 8, 7, 7), block.pointwise.weight.view(16, 3, 8)
    kernel = torch.einsum("imhw,oim->oihw", depthwise, mixing)
    x = torch.randn(2, 3, 20, 20)
    expected = F.relu(F.conv2d(x, kernel, block.pointwise.bias, 2, 3))
    assert torch.allclose(block(x), expected, atol=1e-5)
