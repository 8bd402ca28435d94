"""The small Inception, its blocks, and runs of it: shapes, what arms share, resuming."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bnrepro import data
from bnrepro.config.identity import arm_label
from bnrepro.config.schema import Config, InceptionConfig
from bnrepro.errors import ConfigError
from bnrepro.models import build_model
from bnrepro.models.blocks import Recipe
from bnrepro.models.inception import Columns, Inception, InceptionBlock
from bnrepro.runs import run
from bnrepro.training import checkpoint
from bnrepro.training.loop import Trainer

SMALL = (
    "model=inception", "data=digits", "data.enlarge=16", "data.standardize=true", "model.stem=4", "model.units=[1,2]",
    "model.blocks=[1,1]", "batch_size=8", "steps=12", "wandb=disabled", "optimizer.lr=0.05", "optimizer.momentum=0.9",
)  # fmt: skip
Made, Composed = Callable[..., Config], Callable[..., list[Config]]


@pytest.fixture
def inception(composed: Composed) -> Made:
    def one(*overrides: str) -> Config:
        [config] = composed(*SMALL, *overrides)
        return config

    return one


OTHERS = ("rms", "batch_renorm", "ghost_batch", "filter_response", "dynamic_tanh")
ANY = [
    (norm, placement)
    for norm in ("none", "batch", "group", "layer", "instance", "reference_batch", *OTHERS)
    for placement in ("before", "after")
]


@pytest.mark.parametrize(("norm", "placement"), [*ANY, ("weight", "before")])
def test_the_network_of_the_default_configuration(norm: str, placement: str, composed: Composed) -> None:
    [config] = composed("model=inception", "data=digits", f"norm={norm}", f"placement={placement}")
    model = build_model(config, (3, 32, 32), 10)
    assert isinstance(model, Inception)
    images = torch.randn(2, 3, 32, 32)
    widths = [block.outputs for block in model.blocks]
    # Eight units leave a block of stride 1; one of stride 2 adds six units to what enters it.
    assert widths == [32, 32 + 24, 48, 48, 48 + 36, 64]
    sides = []
    x = model.stem(images)
    for block in model.blocks:
        x = block(x)
        sides.append(x.shape[-1])
    assert sides == [16, 8, 8, 8, 4, 4]
    assert model(images).shape == (2, 10)
    assert 45_000 < sum(p.numel() for p in model.parameters()) < 55_000


def test_larger_initial_weights_are_those_of_the_convolutions(inception: Made) -> None:
    one, larger = (
        dict(build_model(inception(f"model.init_scale={scale}"), (3, 32, 32), 10).named_parameters())
        for scale in (1, 1.5)
    )
    for name, weight in one.items():
        # §4.2.3 enlarges the weights of the convolutional layers; the linear layer is not one.
        torch.testing.assert_close(larger[name], weight * 1.5 if name.endswith("conv.weight") else weight)


def test_a_block_is_its_branches_side_by_side() -> None:
    columns = Columns(one=3, three_reduce=2, three=5, double_reduce=2, double=7, projection=4)
    block = InceptionBlock(Recipe(InceptionConfig(), {"name": "none"}, "before", 0), 6, columns, "b")
    x = torch.randn(2, 6, 8, 8)
    assert block.outputs == 3 + 5 + 7 + 4
    assert torch.equal(block(x)[:, :3], block.branches[0](x))
    assert torch.equal(block(x)[:, -4:], block.branches[-1](x))
    halved = InceptionBlock(
        Recipe(InceptionConfig(), {"name": "none"}, "before", 0), 6, Columns(0, 2, 5, 2, 7, 0, "max", 2), "b"
    )
    assert halved(x).shape == (2, 5 + 7 + 6, 4, 4)
    # The pool of a block of stride 2 passes its input through.
    assert torch.equal(halved(x)[:, -6:], torch.nn.functional.max_pool2d(x, 3, 2, 1))


def test_arms_share_the_weights_of_the_layers_they_share(inception: Made) -> None:
    plain, normalised = (build_model(inception(f"norm={norm}"), (3, 16, 16), 10) for norm in ("none", "batch"))
    common = dict(normalised.named_parameters())
    shared = [name for name, _ in plain.named_parameters() if name in common and "norm" not in name]
    assert len(shared) > 10
    assert all(torch.equal(plain.get_parameter(name), common[name]) for name in shared if name.endswith("weight"))
    assert not any(name.endswith("conv.bias") for name in common)  # β takes its place


def test_from_kaiming_the_signal_neither_dies_nor_explodes(composed: Composed) -> None:
    [config] = composed("model=inception", "data=digits", "norm=none")
    scores = build_model(config, (3, 32, 32), 10)(torch.randn(16, 3, 32, 32))
    assert 0.05 < scores.std() < 20


def test_channels_last_computes_the_same(inception: Made) -> None:
    images = torch.randn(4, 3, 16, 16)
    model = build_model(inception("norm=batch"), (3, 16, 16), 10).eval()
    before = model(images)
    model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    after = model(images.contiguous(memory_format=torch.channels_last))
    assert torch.allclose(before, after, atol=1e-5)


def test_a_resumed_run_is_the_same_bit_for_bit(inception: Made) -> None:
    config = inception(
        "norm=batch", "model.dropout=0.3", "model.local_response_norm=true", "optimizer.decay=0.1",
        "augmentation.flip=true", "augmentation.shift=2", "augmentation.photometric=0.3", "shuffle=batches",
        "evaluation.max_interval=4", "evaluation.min_interval=4", "evaluation.test_examples=50",
        "evaluation.whole_test=3",
    )  # fmt: skip
    dataset = data.load(config.data)
    states: list[bytes] = []
    whole = Trainer(config, dataset)
    progress = whole.run()
    halfway = Trainer(config, dataset)
    halfway.evaluations = frozenset(step for step in halfway.evaluations if step <= 8)
    halfway.run()
    states.append(checkpoint.save(halfway))
    again = Trainer(config, dataset)
    checkpoint.restore(again, states[0])
    again.progress.status = "running"
    assert again.run().tables == progress.tables
    assert all(
        torch.equal(a, b)
        for a, b in zip(whole.model.state_dict().values(), again.model.state_dict().values(), strict=True)
    )


def test_the_rate_decays_exponentially_over_the_run(inception: Made) -> None:
    config = inception("norm=none", "optimizer.decay=0.25", "steps=40")
    trainer = Trainer(config, data.load(config.data))
    trainer.advance(21)
    assert trainer.optimizer.rate == pytest.approx(0.05 * 0.5)


def test_the_whole_test_set_is_looked_at_a_few_times_only(inception: Made) -> None:
    config = inception(
        "norm=none", "evaluation.test_examples=50", "evaluation.whole_test=2", "evaluation.min_interval=2"
    )
    lines = Trainer(config, data.load(config.data)).run().tables["metrics"]
    at = {
        split: [int(line.split(",")[0]) for line in lines if f",{split},accuracy" in line]
        for split in ("test", "whole_test")
    }
    assert at["whole_test"] == [0, 12]
    assert len(at["test"]) > 4


def test_the_probe_of_hidden_layers_is_refused(inception: Made) -> None:
    config = inception("norm=none", "probes.activations.enabled=true")
    with pytest.raises(ConfigError, match="fully connected hidden layers"):
        Trainer(config, data.load(config.data))


def test_lists_of_unequal_length_are_refused(inception: Made) -> None:
    with pytest.raises(ConfigError, match=r"model\.blocks=\[1\]: two lists of equal length"):
        inception("model.blocks=[1]")


def test_an_arm_is_a_name_for_its_values(composed: Composed, tmp_path: Path) -> None:
    arms = "arm=inception,bn_baseline,bn_x5,bn_x30,bn_x5_sigmoid,inception_x5,inception_sigmoid"
    configs = composed("experiment=inception_training", "seed=0", arms)
    assert [arm_label(config) for config in configs] == arms.removeprefix("arm=").split(",")
    rates = {arm_label(config): config.optimizer.lr for config in configs}
    assert rates["bn_baseline"] == rates["inception"]
    assert rates["bn_x5"] == rates["inception_x5"] == pytest.approx(5 * rates["inception"])
    assert rates["bn_x30"] == pytest.approx(30 * rates["inception"])
    plain, own = configs[0], configs[2]
    assert own.optimizer.weight_decay == pytest.approx(plain.optimizer.weight_decay / 5)
    assert own.optimizer.decay == pytest.approx(plain.optimizer.decay**6)


@pytest.mark.parametrize("override", ["norm=group", "optimizer.lr=0.3", "model.dropout=0.5", "shuffle=examples"])
def test_an_override_that_contradicts_a_named_arm_is_refused(override: str, composed: Composed) -> None:
    key, _, value = override.partition("=")
    with pytest.raises(ConfigError, match=rf"{key}={value} contradicts arm=inception, which stands for {key}="):
        composed("experiment=inception_training", "arm=inception", override)


def test_the_name_is_no_part_of_the_identity(inception: Made) -> None:
    config = inception("norm=batch")
    before = run.plan(config)
    config.arm = "another_name"
    assert run.plan(config).key == before.key
    assert run.plan(config).folder != before.folder
