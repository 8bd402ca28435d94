"""The few numbers of a run are those that the full tables hold, also after a stop, and cost the network nothing."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from bnrepro import data
from bnrepro.claims.mnist_training.numbers import PERCENTILES, drifts
from bnrepro.config.schema import Config
from bnrepro.errors import ConfigError, StoreError
from bnrepro.models import build_model
from bnrepro.probes import activations
from bnrepro.probes.activations import ActivationProbe
from bnrepro.probes.summary import PARTS, STATISTICS, SummaryProbe
from bnrepro.tables import Tables
from bnrepro.training import checkpoint
from bnrepro.training.loop import Trainer
from bnrepro.training.state import Callbacks

ON = ("probes.summary.enabled=true", "probes.summary.examples=120", "steps=200", "optimizer.lr=1")
NORMS = ("none", "batch", "batch_noisy", "layer", "reference_batch")
DRAWS = ("norm=batch_noisy", "model.dropout=0.4")


@pytest.fixture
def scene(small: Callable[..., Config]) -> Callable[..., SimpleNamespace]:
    """A network whose running statistics are not those of the probe's images, its probe and its data."""

    def build(*overrides: str) -> SimpleNamespace:
        config = small(*ON, *overrides)
        loaded = data.load(config.data)
        model = build_model(config, (1, 8, 8), 10)
        for i in range(3):
            model(loaded.train.images[i * 20 : i * 20 + 20])
        return SimpleNamespace(config=config, model=model, data=loaded, probe=SummaryProbe(config, loaded, model))

    return build


def trained(config: Config, payloads: list[bytes] | None = None) -> Trainer:
    keep = Callbacks(on_checkpoint=payloads.append) if payloads is not None else None
    trainer = Trainer(config, data.load(config.data), keep)
    trainer.run()
    return trainer


def cells(rows: list[str]) -> list[list[str]]:
    return [row.split(",") for row in rows]


# ----------------------------------------------------------------------------------------------------- drift


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_the_drift_is_that_of_the_activations_full_table(
    small: Callable[..., Config], norm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = ("growth=0.15", "min_interval=1", "max_interval=1000", "examples=120")
    both = [f"probes.{probe}.{key}" for probe in ("activations", "summary") for key in schedule]
    trainer = trained(small(*ON, f"norm={norm}", "probes.activations.enabled=true", *both))
    header = next(probe for probe in trainer.probes if isinstance(probe, ActivationProbe)).headers["activations"]
    table = pd.read_csv(io.StringIO("\n".join([header, *trainer.progress.tables["activations"]])))
    nothing = pd.DataFrame()
    tables = Tables("x", nothing, nothing, nothing, {"activations": table.assign(run="a")})
    expected = []
    for part in PARTS:
        units = drifts(tables, "running", part)["a"]
        summaries = {"median": units.median(), "mean": units.mean(), "p90": units.quantile(0.9)}
        expected += [(part, name, value) for name, value in summaries.items()]
    found = [(float(part), name, float(value)) for part, name, value in cells(trainer.progress.tables["drift"])]
    assert [row[:2] for row in found] == [row[:2] for row in expected]
    # The full table holds four digits of each percentile.
    np.testing.assert_allclose([row[2] for row in found], [row[2] for row in expected], rtol=5e-3)


def test_the_drift_is_computed_to_the_digit_from_the_percentiles_at_its_points(small: Callable[..., Config]) -> None:
    trainer = trained(small(*ON, "norm=batch", "probes.summary.min_interval=1"))
    [probe] = trainer.probes
    assert isinstance(probe, SummaryProbe)
    rows = [
        [step, "running", percentile, *probe.percentiles[step][:, place].tolist()]
        for step in sorted(probe.steps)
        for place, percentile in enumerate(PERCENTILES)
    ]
    columns = ["step", "statistics", "percentile", *(f"u{unit}" for unit in range(8))]
    nothing = pd.DataFrame()
    tables = Tables("x", nothing, nothing, nothing, {"activations": pd.DataFrame(rows, columns=columns).assign(run=0)})
    units = drifts(tables, "running", 0.1)[0].to_numpy()
    found = [value for part, _, value in cells(trainer.progress.tables["drift"]) if part == "0.1"]
    assert found == [f"{summary(units):.6g}" for summary in STATISTICS.values()]


def test_a_part_with_too_few_points_has_no_drift_but_its_lines(small: Callable[..., Config]) -> None:
    trainer = trained(small(*ON, "probes.summary.min_interval=30", "steps=100"))
    rows = cells(trainer.progress.tables["drift"])
    assert [row[0] for row in rows] == [f"{part:g}" for part in PARTS for _ in STATISTICS]
    assert [bool(row[2]) for row in rows] == [False] * 9 + [True] * 3
    assert [row[1] for row in rows[:3]] == ["median", "mean", "p90"]


def test_an_infinite_drift_of_some_units_does_not_hide_the_others() -> None:
    units = np.array([*range(17), np.inf, np.inf, np.inf], dtype=float)
    assert STATISTICS["median"](units) == 9.5
    assert STATISTICS["mean"](units) == np.inf
    assert STATISTICS["p90"](units) == np.inf
    assert STATISTICS["p90"](units[:-2]) == 16
    assert STATISTICS["p90"](np.arange(11.0)) == 9


# ------------------------------------------------------------------------------------------------- a stop


def test_a_run_that_was_stopped_writes_the_same_bits(small: Callable[..., Config]) -> None:
    config, payloads = small(*ON, *DRAWS, "checkpoint_every_s=1e-9"), list[bytes]()
    whole = trained(config, payloads).progress.tables
    assert len(payloads) > 10
    assert all(whole[name] for name in ("drift", "saturation", "norms"))
    for payload in (payloads[0], payloads[len(payloads) // 2], payloads[-1]):
        resumed = Trainer(config, data.load(config.data))
        checkpoint.restore(resumed, payload)
        assert 0 < resumed.progress.step < 200
        resumed.run()
        assert resumed.progress.tables == whole


def test_a_checkpoint_without_memories_is_that_of_a_run_without_them(small: Callable[..., Config]) -> None:
    """As checkpoints were before probes had memories: whole for any run without one, and for no other."""

    def older(payload: bytes) -> bytes:
        state = torch.load(io.BytesIO(payload), weights_only=True)
        del state["probes"]
        buffer = io.BytesIO()
        torch.save(state, buffer)
        return buffer.getvalue()

    for switch, whole in (("probes.summary.enabled=false", True), ("probes.summary.enabled=true", False)):
        config, payloads = small("checkpoint_every_s=1e-9", "probes.shift.enabled=true", switch), list[bytes]()
        tables = trained(config, payloads).progress.tables
        resumed = Trainer(config, data.load(config.data))
        if whole:
            checkpoint.restore(resumed, older(payloads[1]))
            resumed.run()
            assert resumed.progress.tables == tables
        else:
            with pytest.raises(StoreError, match="does not fit"):
                checkpoint.restore(resumed, older(payloads[1]))


# --------------------------------------------------------------------------------------- saturation and norms


@pytest.mark.parametrize("norm", NORMS)
def test_saturation_is_that_of_the_network_as_it_is_evaluated(scene: Callable[..., SimpleNamespace], norm: str) -> None:
    at = scene(f"norm={norm}", "model.init_scale=3")
    for block in at.model.hidden:
        if block.norm is not None:
            torch.nn.init.constant_(block.norm.weight, 5.0)
    rows = cells(at.probe.observe(at.model, 0).rows["saturation"])
    network, x = copy.deepcopy(at.model).eval(), at.data.validation.images[:120].flatten(1)
    for layer, (row, block) in enumerate(zip(rows, network.hidden, strict=True)):
        with torch.no_grad():
            x = block(x)
        assert row[:2] == ["0", str(layer)]
        assert float(row[2]) == pytest.approx(((x < 0.05) | (x > 0.95)).double().mean().item(), abs=1e-6)
    assert any(float(row[2]) > 0.01 for row in rows), "nothing is saturated: the case is not there"


def test_rectifiers_do_not_saturate(scene: Callable[..., SimpleNamespace]) -> None:
    at = scene("model.activation=relu")
    assert at.probe.observe(at.model, 0).rows["saturation"] == ["0,0,", "0,1,"]


@pytest.mark.parametrize("norm", NORMS)
def test_norms_are_those_of_the_weights_and_of_a_mini_batchs_gradient_in_training(
    scene: Callable[..., SimpleNamespace], norm: str
) -> None:
    at = scene(f"norm={norm}", "model.dropout=0.4")
    rows = cells(at.probe.observe(at.model, 7).rows["norms"])
    network, held_out = copy.deepcopy(at.model).train(), at.data.validation
    # The same random numbers as the probe: those that come next, before and after it.
    F.cross_entropy(network(held_out.images[:20]), held_out.labels[:20]).backward()
    weights = [*(block.linear.weight for block in network.hidden), network.output.weight]
    assert [row[:2] for row in rows] == [["7", str(layer)] for layer in range(3)]
    np.testing.assert_allclose([float(row[2]) for row in rows], [w.norm().item() for w in weights], rtol=1e-5)
    np.testing.assert_allclose([float(row[3]) for row in rows], [w.grad.norm().item() for w in weights], rtol=1e-4)


# -------------------------------------------------------------------------------------------- it only looks


@pytest.mark.parametrize("arm", [("norm=none",), ("norm=batch",), DRAWS])
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


@pytest.mark.parametrize("norm", NORMS)
def test_training_does_not_notice(small: Callable[..., Config], norm: str) -> None:
    arm = (f"norm={norm}", "model.dropout=0.3", "steps=60")
    with_it, without = trained(small(*ON, *arm)), trained(small(*arm, "optimizer.lr=1"))
    assert with_it.progress.tables["metrics"] == without.progress.tables["metrics"]
    for one, other in zip(with_it.model.parameters(), without.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_of_a_broken_network_there_are_no_rows(scene: Callable[..., SimpleNamespace]) -> None:
    at = scene("norm=batch")
    with torch.no_grad():
        at.model.hidden[0].linear.weight[0, 0] = torch.nan
    for step in (0, 200):
        assert not any(at.probe.observe(at.model, step).rows.values())
    assert not at.probe.percentiles


def test_a_run_that_diverges_has_rows_until_then_and_no_drift(small: Callable[..., Config]) -> None:
    wild = ("norm=none", "model.activation=relu", "model.init=kaiming", "optimizer.lr=1e9")
    progress = trained(small(*ON, *wild)).progress
    assert progress.diverged
    assert progress.tables["norms"]
    assert not progress.tables["drift"]


def test_a_network_without_hidden_layers_is_refused(small: Callable[..., Config]) -> None:
    config = small("probes.summary.enabled=true")
    loaded = data.load(config.data)
    with pytest.raises(ConfigError, match=r"probes\.summary needs fully connected hidden layers; model=mlp has none"):
        SummaryProbe(config, loaded, torch.nn.Linear(64, 10))


def test_it_reads_the_validation_set_alone_by_the_functions_of_the_activation_probe(
    scene: Callable[..., SimpleNamespace],
) -> None:
    at = scene("norm=batch")
    assert torch.equal(at.probe.batch, at.data.validation.images[:120])
    images, labels = at.probe.mini_batch
    assert torch.equal(images, at.data.validation.images[:20])
    assert torch.equal(labels, at.data.validation.labels[:20])
    at.probe.observe(at.model, 0)
    last = activations.activation_inputs_outputs(at.model, at.probe.batch)[-1][0]
    assert np.array_equal(at.probe.percentiles[0].numpy(), activations.unit_percentiles(last))
