"""Probes read the true distribution of the activations and leave the network as it was."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from bnrepro import data
from bnrepro.config.schema import Config
from bnrepro.models import build_model
from bnrepro.probes import build_probes, watching
from bnrepro.probes.activations import (
    ActivationProbe,
    activation_inputs_outputs,
    has_batch_statistics,
    saturated_share,
    unit_percentiles,
)

ON = ("probes.activations.enabled=true", "probes.activations.examples=120", "steps=200")


@pytest.fixture
def scene(small: Callable[..., Config]) -> Callable[..., SimpleNamespace]:
    """A network whose running statistics are not those of the probe batch, its probe, and its configuration."""

    def build(*overrides: str) -> SimpleNamespace:
        config = small(*ON, *overrides)
        loaded = data.load(config.data)
        model = build_model(config, (1, 8, 8), 10)
        for i in range(3):
            model(loaded.train.images[i * 20 : i * 20 + 20])
        return SimpleNamespace(
            config=config,
            model=model,
            probe=ActivationProbe(config, loaded, model),
            batch=loaded.validation.images[:120],
        )

    return build


def inputs_by_hand(model: nn.Module, batch: torch.Tensor, training: bool) -> list[torch.Tensor]:
    """The inputs of all activations, layer by layer, from a copy of the network."""
    model = copy.deepcopy(model).train(training)
    x, found = batch.flatten(1), []
    with torch.no_grad():
        for block in model.hidden:  # type: ignore[union-attr]
            u = block.linear(x)
            found.append(block.norm(u) if block.norm is not None and block.placement == "before" else u)
            x = block(x)
    return found


@pytest.mark.parametrize("examples", [2, 3, 7, 100, 1000])
def test_percentiles_are_numpys(examples: int) -> None:
    values = torch.randn(examples, 9, generator=torch.Generator().manual_seed(examples))
    expected = np.percentile(values.double().numpy(), (15, 50, 85), axis=0).T
    np.testing.assert_allclose(unit_percentiles(values), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("arm", [("norm=none",), ("norm=batch",), ("norm=batch", "placement=after")])
@pytest.mark.parametrize("batch_statistics", [False, True])
def test_what_is_caught_is_the_input_of_the_activation(
    scene: Callable[..., SimpleNamespace], arm: tuple[str, ...], batch_statistics: bool
) -> None:
    at = scene(*arm)
    caught = activation_inputs_outputs(at.model, at.batch, batch_statistics)
    expected = inputs_by_hand(at.model, at.batch, training=batch_statistics)
    assert len(caught) == len(expected) == 2
    for (inputs, outputs), right in zip(caught, expected, strict=True):
        torch.testing.assert_close(inputs, right)
        torch.testing.assert_close(outputs, right.sigmoid())


def test_under_batch_statistics_inputs_have_mean_beta(scene: Callable[..., SimpleNamespace]) -> None:
    at = scene("norm=batch")
    with torch.no_grad():
        for block in at.model.hidden:
            block.norm.bias.copy_(torch.linspace(-2, 2, len(block.norm.bias)))
            block.norm.weight.fill_(0.7)
    for (inputs, _), block in zip(activation_inputs_outputs(at.model, at.batch, True), at.model.hidden, strict=True):
        torch.testing.assert_close(inputs.mean(0), block.norm.bias.detach(), atol=1e-5, rtol=0)
    running = activation_inputs_outputs(at.model, at.batch)[0][0]
    assert (running.mean(0) - at.model.hidden[0].norm.bias).abs().max() > 0.01


@pytest.mark.parametrize("arm", [("norm=none", "model.dropout=0.4"), ("norm=batch", "model.dropout=0.4")])
@pytest.mark.parametrize("training", [True, False])
def test_observing_leaves_no_trace(scene: Callable[..., SimpleNamespace], arm: tuple[str, ...], training: bool) -> None:
    at = scene(*arm)
    at.model.train(training)
    at.model.hidden[0].eval()
    modes = {name: module.training for name, module in at.model.named_modules()}
    before, random = copy.deepcopy(at.model.state_dict()), torch.get_rng_state()
    at.probe.observe(at.model, 0)
    for name, value in at.model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert torch.equal(torch.get_rng_state(), random)
    assert {name: module.training for name, module in at.model.named_modules()} == modes
    assert not any(module._forward_hooks for module in at.model.modules())
    assert all(parameter.grad is None for parameter in at.model.parameters())


def test_a_pass_that_fails_leaves_no_trace_either(scene: Callable[..., SimpleNamespace]) -> None:
    at = scene("norm=batch")
    with pytest.raises(RuntimeError):
        activation_inputs_outputs(at.model, torch.zeros(3, 5), True)
    assert all(module.training for module in at.model.modules())
    assert not any(module._forward_hooks for module in at.model.modules())


def test_watching_hides_what_is_drawn_inside() -> None:
    layer, state = nn.Linear(2, 2), torch.get_rng_state()
    with watching(layer):
        torch.randn(5)
        torch.manual_seed(3)
    assert torch.equal(torch.get_rng_state(), state)


def test_rows_say_what_was_seen(scene: Callable[..., SimpleNamespace]) -> None:
    at = scene("norm=batch")
    seen = at.probe.observe(at.model, 0)
    last = inputs_by_hand(at.model, at.batch, training=False)[-1]
    expected = np.percentile(last.double().numpy(), (15, 50, 85), axis=0).T
    lines = [line.split(",") for line in seen.rows["activations"]]
    assert at.probe.headers["activations"].split(",") == ["step", "statistics", "percentile"] + [
        f"u{unit}" for unit in range(8)
    ]
    assert [line[:3] for line in lines] == [["0", s, p] for s in ("running", "batch") for p in ("15", "50", "85")]
    found = np.array([[float(x) for x in line[3:]] for line in lines if line[1] == "running"]).T
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    for index, percentile in enumerate((15, 50, 85)):
        assert seen.values[f"inputs/first_p{percentile}"] == pytest.approx(expected[0, index], rel=1e-5)
        assert seen.values[f"inputs/median_p{percentile}"] == pytest.approx(np.median(expected[:, index]), rel=1e-5)
    layers = [line.split(",") for line in seen.rows["layers"]]
    assert [line[1:3] for line in layers] == [[str(i), s] for s in ("running", "batch") for i in range(2)]
    np.testing.assert_allclose([float(x) for x in layers[1][3:6]], expected.mean(0), rtol=1e-4)
    for name, rows in seen.rows.items():
        assert {len(row.split(",")) for row in rows} == {len(at.probe.headers[name].split(","))}


def test_every_value_is_counted_in_the_histograms_also_beyond_the_bins(
    scene: Callable[..., SimpleNamespace],
) -> None:
    at = scene("norm=none", "model.init_scale=20")
    seen = at.probe.observe(at.model, 0)
    assert set(seen.histograms) == {f"hidden.{i}.{q}" for i in (0, 1) for q in ("input", "output")}
    for name, (counts, edges) in seen.histograms.items():
        assert counts.sum() == 120 * (12 if name.startswith("hidden.0") else 8)
        assert len(edges) == len(counts) + 1
    inputs = inputs_by_hand(at.model, at.batch, training=False)[0]
    counts, edges = seen.histograms["hidden.0.input"]
    assert (edges[0], edges[-1]) == (-10, 10)
    assert counts[0] == (inputs < edges[1]).sum()
    assert (inputs < -10).any(), "nothing lay beyond the bins: the case is not there"


def test_saturated_means_outside_5_to_95_percent() -> None:
    outputs = torch.tensor([[0.0, 0.049, 0.06, 0.5], [0.94, 0.951, 0.96, 1.0]])
    assert saturated_share(outputs) == 5 / 8


def test_relu_has_no_saturation_column_entry(scene: Callable[..., SimpleNamespace]) -> None:
    at = scene("norm=none", "model.activation=relu")
    assert all(row.endswith(",") for row in at.probe.observe(at.model, 0).rows["layers"])


def test_batch_statistics_come_at_every_fourth_point_and_only_where_they_differ(
    scene: Callable[..., SimpleNamespace],
) -> None:
    at = scene("norm=batch", "probes.activations.batch_every=4", "probes.activations.histograms=3")
    steps = sorted(at.probe.percentile_steps)
    assert sorted(at.probe.batch_steps) == steps[::4]
    assert sorted(at.probe.histogram_steps) == [0, 100, 200]
    assert at.probe.steps == at.probe.percentile_steps | at.probe.histogram_steps
    assert not scene("norm=batch", "probes.activations.batch_every=0").probe.batch_steps
    plain = scene("norm=none")
    assert not has_batch_statistics(plain.model)
    assert not [row for row in plain.probe.observe(plain.model, 0).rows["layers"] if ",batch," in row]


def test_the_probe_batch_is_fixed_and_held_out(small: Callable[..., Config]) -> None:
    config = small(*ON)
    loaded = data.load(config.data)
    model = build_model(config, (1, 8, 8), 10)
    [probe] = build_probes(config, loaded, model)
    assert isinstance(probe, ActivationProbe)
    assert torch.equal(probe.batch, loaded.validation.images[:120])
    assert build_probes(small(), loaded, model) == []


def test_of_a_broken_network_there_are_no_rows(scene: Callable[..., SimpleNamespace]) -> None:
    at = scene("norm=batch")
    with torch.no_grad():
        at.model.hidden[0].linear.weight[0, 0] = torch.nan
    seen = at.probe.observe(at.model, 0)
    assert not any(seen.rows.values())
    assert not seen.histograms
