"""The next step as the probes see it is the step that training takes next, and leaves no trace."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from bnrepro import data
from bnrepro.config.schema import Config
from bnrepro.probes.activations import ActivationProbe
from bnrepro.probes.landscape import LandscapeProbe
from bnrepro.probes.next_step import NextLoss, NextStep, gradient, parameters_of, shown
from bnrepro.probes.shift import ShiftProbe
from bnrepro.training.loop import Trainer

PROBES = tuple(f"probes.{name}.{key}" for name in ("landscape", "shift") for key in ("enabled=true", "points=5"))
INCEPTION = (
    "model=inception", "data=digits", "data.enlarge=16", "data.standardize=true", "model.stem=4", "model.units=[1,2]",
    "model.blocks=[1,1]", "batch_size=8", "steps=12", "wandb=disabled", "optimizer.lr=0.05", "optimizer.momentum=0.9",
    "optimizer.decay=0.5", "augmentation.flip=true", "augmentation.shift=2", "checkpoint_every_s=0",
)  # fmt: skip
ARMS = [("norm=none", "model.dropout=0.4"), ("norm=batch", "model.dropout=0.4"), ("norm=batch_noisy",)]
NETWORKS = [*((arm, False) for arm in ARMS), (("norm=batch", "model.dropout=0.4"), True)]
Made = Callable[..., Trainer]


@pytest.fixture
def trainer(small: Callable[..., Config], composed: Callable[..., list[Config]]) -> Made:
    def build(*overrides: str, inception: bool = False) -> Trainer:
        config = composed(*INCEPTION, *overrides)[0] if inception else small(*overrides)
        return Trainer(config, data.load(config.data))

    return build


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


@pytest.mark.parametrize(("arm", "inception"), NETWORKS)
def test_loss_and_gradient_are_those_of_the_next_step(trainer: Made, arm: tuple[str, ...], inception: bool) -> None:
    run = trainer(*arm, "evaluation.max_interval=1", "evaluation.min_interval=1", inception=inception)
    run.advance(7)
    following = NextStep(run.config, data.load(run.config.data))
    expected, slopes = gradient(NextLoss(run.model, *following.batch(7)), parameters_of(run.model))
    before = copy.deepcopy(dict(run.model.named_parameters()))
    run._steps_until(8)
    [loss] = run.progress.pending
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert run.optimizer.rate == following.rate(7)
    for name, parameter in run.model.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, slopes[name], rtol=1e-4, atol=1e-7)
    if not inception:  # plain gradient descent: the step is the gradient times the rate
        for name, parameter in run.model.named_parameters():
            torch.testing.assert_close(parameter, before[name] - following.rate(7) * slopes[name])


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("training", [True, False])
def test_observing_leaves_no_trace(trainer: Made, arm: tuple[str, ...], training: bool) -> None:
    run = trainer(*arm, *PROBES)
    run.advance(3)
    model = run.model.train(training)
    model.hidden[0].eval()  # type: ignore[index,union-attr]
    modes = {name: module.training for name, module in model.named_modules()}
    state, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    grads = {name: parameter.grad for name, parameter in model.named_parameters()}
    values = {name: grad.clone() for name, grad in grads.items() if grad is not None}
    places = {name: tensor.data_ptr() for name, tensor in model.state_dict().items()}
    assert len(run.probes) == 2
    for probe in run.probes:
        first, second = (probe.observe(model, 3).rows for _ in range(2))
        assert first == second
        assert all(first.values())
    assert_same(model.state_dict(), state)
    assert {name: tensor.data_ptr() for name, tensor in model.state_dict().items()} == places
    assert torch.equal(torch.get_rng_state(), random)
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert all(parameter.grad is grads[name] for name, parameter in model.named_parameters())
    assert_same({name: p.grad for name, p in model.named_parameters() if p.grad is not None}, values)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())


def test_a_loss_that_fails_leaves_no_trace_either(trainer: Made) -> None:
    run = trainer("norm=batch")
    random = torch.get_rng_state()
    loss = NextLoss(run.model, torch.zeros(3, 5), torch.zeros(3, dtype=torch.int64))
    for call in (loss, loss.redrawn_before(run.model.output)):  # type: ignore[arg-type]
        with pytest.raises(RuntimeError):
            call(parameters_of(run.model))
    assert torch.equal(torch.get_rng_state(), random)
    assert all(module.training for module in run.model.modules())
    assert not any(module._forward_pre_hooks for module in run.model.modules())


@pytest.mark.parametrize(("arm", "inception"), NETWORKS)
def test_training_is_the_same_with_the_probes_and_without(trainer: Made, arm: tuple[str, ...], inception: bool) -> None:
    silent, watched = trainer(*arm, inception=inception), trainer(*arm, *PROBES, inception=inception)
    silent.run(), watched.run()
    assert_same(silent.model.state_dict(), watched.model.state_dict())
    assert silent.progress.tables["metrics"] == watched.progress.tables["metrics"]
    assert silent.progress.tables.keys() == {"metrics"}
    for probe in watched.probes:
        for name, header in probe.headers.items():
            lines = [line.split(",") for line in watched.progress.tables[name]]
            assert {len(line) for line in lines} == {len(header.split(","))}
            assert sorted({int(line[0]) for line in lines}) == sorted(probe.steps)
            assert {0, watched.config.steps} <= probe.steps


def test_the_draws_of_the_layers_before_alone_are_others(trainer: Made) -> None:
    """Redrawn before the last layer is another loss; before the first it is the same, for all that draws follows."""
    run = trainer("norm=batch_noisy")
    images, labels = NextStep(run.config, data.load(run.config.data)).batch(0)
    loss, weights = NextLoss(run.model, images, labels), parameters_of(run.model)
    assert loss.draws(weights)
    assert loss.redrawn_before(run.model.hidden[0])(weights) == loss(weights)  # type: ignore[index]
    last = loss.redrawn_before(run.model.output)  # type: ignore[arg-type]
    assert last(weights) != loss(weights)
    # One step later: what a second pass draws that goes on where the first one ended.
    with torch.random.fork_rng(devices=[]):
        run.model(images)
        expected = F.cross_entropy(run.model(images), labels)
    assert last(weights) == expected
    plain = trainer("norm=batch")
    assert not NextLoss(plain.model, images, labels).draws(parameters_of(plain.model))


def test_of_a_broken_network_there_are_no_rows(trainer: Made) -> None:
    run = trainer("norm=none", *PROBES)
    with torch.no_grad():
        run.model.output.weight[0, 0] = torch.nan  # type: ignore[index,union-attr]
    for probe in run.probes:
        assert not any(probe.observe(run.model, 0).rows.values())


def test_a_number_beyond_what_can_be_computed_is_infinite() -> None:
    assert [shown(value) for value in (1 / 3, float("inf"), float("nan"), -float("inf"))] == ["0.333333", *["inf"] * 3]


def test_a_probe_is_there_only_if_it_is_asked_for(trainer: Made) -> None:
    """Off, it costs nothing: there is no object, no table, and training stops for evaluations alone."""
    silent = trainer()
    assert silent.probes == []
    assert silent.progress.tables.keys() == {"metrics"}
    for name, kind in (("activations", ActivationProbe), ("landscape", LandscapeProbe), ("shift", ShiftProbe)):
        assert [type(probe) for probe in trainer(f"probes.{name}.enabled=true").probes] == [kind]
