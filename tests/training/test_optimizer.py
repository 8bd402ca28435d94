"""The optimiser's step is that of the library's fused SGD, bit for bit: else the keys of committed runs would lie."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from bnrepro.config.schema import OptimizerConfig
from bnrepro.training.optimizer import SGD

SHAPES = ((100, 784), (100,), (16, 3, 3, 3), (1,), (7, 13))
STEPS = 12


def start(dtype: torch.dtype, layout: torch.memory_format = torch.contiguous_format) -> list[Tensor]:
    draw = torch.Generator().manual_seed(1)
    found = []
    for shape in SHAPES:
        value = torch.randn(shape, generator=draw, dtype=torch.float64).to(dtype)
        found.append((value.to(memory_format=layout) if value.dim() == 4 else value).requires_grad_())
    return found


def gradients(parameters: list[Tensor], step: int) -> None:
    draw = torch.Generator().manual_seed(step)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=draw, dtype=torch.float64).to(parameter.dtype)


def rate(step: int) -> float:
    return 0.3 * 0.9**step


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 1e-4, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_every_step_is_bit_equal_to_the_librarys(
    momentum: float, weight_decay: float, dtype: torch.dtype, layout: torch.memory_format
) -> None:
    own, theirs = start(dtype, layout), start(dtype, layout)
    config = OptimizerConfig(lr=0.3, momentum=momentum, weight_decay=weight_decay)
    mine = SGD(own, config)
    library = torch.optim.SGD(theirs, lr=0.3, momentum=momentum, weight_decay=weight_decay, fused=True)
    for step in range(STEPS):
        gradients(own, step)
        gradients(theirs, step)
        mine.rate = library.param_groups[0]["lr"] = rate(step)
        mine.step()
        library.step()
        for a, b in zip(own, theirs, strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_it_goes_on_from_its_state_as_if_it_had_not_stopped(momentum: float) -> None:
    config = OptimizerConfig(lr=0.3, momentum=momentum, weight_decay=1e-3)
    whole, parts = start(torch.float32), start(torch.float32)
    undisturbed, first = SGD(whole, config), SGD(parts, config)
    second = SGD(parts, config)
    for step in range(STEPS):
        if step == 5:
            second.load_state_dict(first.state_dict())
        for optimizer, parameters in ((undisturbed, whole), (first if step < 5 else second, parts)):
            gradients(parameters, step)
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))


def test_parameters_without_a_gradient_stay_as_they_are() -> None:
    moved, still = start(torch.float32)[:2]
    before = still.detach().clone()
    optimizer = SGD([moved, still], OptimizerConfig(lr=0.3))
    gradients([moved], 0)
    optimizer.step()
    assert torch.equal(still, before)
    SGD([still], OptimizerConfig(lr=0.3)).step()


def test_a_state_of_another_network_is_refused() -> None:
    config = OptimizerConfig(lr=0.3, momentum=0.9)
    parameters = start(torch.float32)
    optimizer = SGD(parameters, config)
    gradients(parameters, 0)
    optimizer.step()
    for others in itertools.combinations(range(len(SHAPES)), 4):
        with pytest.raises(ValueError, match="other shapes"):
            SGD([parameters[i] for i in others], config).load_state_dict(optimizer.state_dict())
