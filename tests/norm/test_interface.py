"""What a normaliser may ask of its network, what all of them have in common, and that a plain module asks nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch
from norm_formulas import drawn, randomised
from torch import Tensor, nn

from bnrepro import data
from bnrepro.config.schema import Config
from bnrepro.errors import ConfigError
from bnrepro.models import build_model
from bnrepro.models.blocks import start_from
from bnrepro.norm import (
    BatchRenorm,
    DynamicTanh,
    FilterResponseNorm,
    GhostBatchNorm,
    Normaliser,
    RMSNorm,
    WeightNorm,
)
from bnrepro.training.fleet.trial import refusal
from bnrepro.training.loop import Trainer

NORMS: dict[str, Callable[[], nn.Module]] = {
    "rms": lambda: RMSNorm(4),
    "weight": lambda: WeightNorm(4),
    "batch_renorm": lambda: BatchRenorm(4, 4, hold=0.0, d_relaxed=0.5, r_relaxed=0.5),
    "ghost_batch": lambda: GhostBatchNorm(4, 3),
    "filter_response": lambda: FilterResponseNorm(4),
    "dynamic_tanh": lambda: DynamicTanh(4),
}
WEIGHTS = drawn((4, 3), 8)


def given(norm: str, x: Tensor) -> tuple[Tensor, ...]:
    return (x, WEIGHTS.to(x.dtype)) if norm == "weight" else (x,)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("training", [True, False])
def test_the_layout_of_the_images_does_not_matter(norm: str, training: bool) -> None:
    layer, x = randomised(NORMS[norm]()).train(training), drawn((6, 4, 3, 5))
    last = x.contiguous(memory_format=torch.channels_last)
    state = {name: value.clone() for name, value in layer.state_dict().items()}
    y = layer(*given(norm, x))
    layer.load_state_dict(state)
    torch.testing.assert_close(layer(*given(norm, last)), y, rtol=1e-12, atol=1e-12)
    assert layer(*given(norm, last)).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 5), (6, 4, 3, 5)])
def test_one_shape_is_the_other_with_positions(norm: str, shape: tuple[int, ...]) -> None:
    layer, x = randomised(NORMS[norm]()), drawn(shape)
    y = layer(*given(norm, x))
    assert y.shape == x.shape
    assert y.dtype == x.dtype
    with pytest.raises(ValueError, match=r"\(N, C"):
        layer(*given(norm, drawn((6, 4, 2, 2, 2))))


@pytest.mark.parametrize("norm", NORMS)
def test_in_bfloat16_it_computes_the_same_to_its_precision(norm: str) -> None:
    layer, other = NORMS[norm](), NORMS[norm]()
    other.load_state_dict(layer.state_dict())
    x = drawn((60, 4)).float()
    with torch.autocast("cpu", torch.bfloat16):
        half = layer(*given(norm, x.bfloat16()))
    assert {parameter.dtype for parameter in layer.parameters()} == {torch.float32}
    torch.testing.assert_close(half.float(), other(*given(norm, x)), rtol=0.05, atol=0.03)
    for one, same in zip(layer.buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(one, same, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_trains_every_parameter_and_repeats_bit_for_bit(
    norm: str, precision: str, small: Callable[..., Config]
) -> None:
    config = small(f"norm={norm}", f"precision={precision}", "model.activation=relu")
    one, again = (Trainer(config, data.load(config.data)) for _ in range(2))
    before = {name: value.clone() for name, value in one.model.named_parameters()}
    one.run(), again.run()
    assert one.progress.tables == again.progress.tables
    assert one.progress.status == "finished"
    for name, value in one.model.named_parameters():
        assert not torch.equal(value, before[name]), name


# ------------------------------------------------------------------------------------------------ a user's own

OWN = """
    import torch
    from torch import nn
    from bnrepro.norm import Normaliser

    class Plain(nn.Module):
        def __init__(self, num_features):
            super().__init__()
            self.gain = nn.Parameter(torch.ones(num_features))

        def forward(self, x):
            return self.gain * x

    class Leaky(nn.Module):
        def __init__(self, slope):
            super().__init__()
            self.slope = nn.Parameter(slope)

        def forward(self, x):
            return torch.where(x > 0, x, self.slope * x)

    class Wishes(Normaliser):
        reads_weights = True
        starts_from_data = True

        def __init__(self, num_features):
            super().__init__()
            self.gain = nn.Parameter(torch.ones(num_features))

        def forward(self, x, weights):
            return self.gain * x / weights.abs().sum(1)

        def in_place_of(self, activation):
            return Leaky(torch.full_like(self.gain.data, 0.1))

        def start(self, x, weights):
            self.gain.copy_(1 / (x / weights.abs().sum(1)).abs().mean(0))

    class Fails(Wishes):
        def start(self, x, weights):
            raise ValueError("no start")
"""


@pytest.fixture
def own(small: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "normalisers_with_wishes.py").write_text(dedent(OWN))
    monkeypatch.syspath_prepend(str(tmp_path))

    def configured(name: str) -> Config:
        config = small("norm=batch", "model.activation=relu", "batch_size=20", "data.validation_examples=200")
        config.norm = {"name": "own", "_target_": f"normalisers_with_wishes.{name}"}
        return config

    yield configured
    sys.modules.pop("normalisers_with_wishes", None)


def test_a_plain_module_is_called_with_the_outputs_alone(own: Callable[[str], Config]) -> None:
    model = build_model(own("Plain"), (1, 8, 8), 10)
    start_from(model, lambda: pytest.fail("nothing starts from data"))
    assert [type(block.activation) for block in model.hidden] == [nn.ReLU] * 2  # type: ignore[union-attr]
    assert model(torch.randn(3, 1, 8, 8)).shape == (3, 10)


def test_what_it_asks_for_it_gets(own: Callable[[str], Config]) -> None:
    config = own("Wishes")
    trainer = Trainer(config, data.load(config.data))
    x = trainer.train_set.images[trainer.order.batch(0)].flatten(1)
    for block in trainer.model.hidden:  # type: ignore[union-attr]
        weights, gain = block.linear.weight, block.norm.gain  # type: ignore[union-attr]
        z = gain * (x @ weights.T) / weights.abs().sum(1)
        torch.testing.assert_close(z.abs().mean(0), torch.ones_like(gain))  # the start, layer after layer
        x = torch.where(z > 0, z, 0.1 * z)
    scores = x @ trainer.model.output.weight.T + trainer.model.output.bias  # type: ignore[union-attr, operator]
    images = trainer.train_set.images[trainer.order.batch(0)]
    torch.testing.assert_close(trainer.model(images), scores)


def test_it_joins_fleets_as_any_other(own: Callable[[str], Config]) -> None:
    config = own("Wishes")
    assert refusal(config, data.load(config.data)) == ""


def test_a_start_that_fails_is_told_with_its_line(own: Callable[[str], Config]) -> None:
    config = own("Fails")
    with pytest.raises(ConfigError, match=r"norm=own fails in .*normalisers_with_wishes.py, line \d+: .*no start"):
        Trainer(config, data.load(config.data))


def test_by_default_nothing_is_asked_for() -> None:
    layer, relu = Normaliser(), nn.ReLU()
    assert not layer.reads_weights
    assert not layer.starts_from_data
    assert layer.in_place_of(relu) is relu
    layer.start(torch.zeros(2, 3))
