"""What training means: nothing in zero steps, the same from the same seed, the same after a stop, and divergence."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from bnrepro import data
from bnrepro.config.schedule import points
from bnrepro.config.schema import Config
from bnrepro.data import Split
from bnrepro.errors import ConfigError, StoreError
from bnrepro.models import build_model
from bnrepro.training import checkpoint
from bnrepro.training.loop import Callbacks, Trainer, evaluate

PROBES = ("probes.activations.enabled=true", "probes.activations.examples=50")


@pytest.fixture
def trainer(small: Callable[..., Config]) -> Callable[..., Trainer]:
    def build(*overrides: str) -> Trainer:
        config = small(*overrides)
        return Trainer(config, data.load(config.data))

    return build


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(model.state_dict())


def assert_same(one: Any, two: Any) -> None:
    """Bit for bit, through nested dictionaries and lists."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, two)
    elif isinstance(one, dict):
        assert one.keys() == two.keys()
        for key in one:
            assert_same(one[key], two[key])
    elif isinstance(one, list):
        assert len(one) == len(two)
        for pair in zip(one, two, strict=True):
            assert_same(*pair)
    else:
        assert one == two


def rows(trainer: Trainer, split: str, metric: str) -> dict[int, float]:
    lines = [line.split(",") for line in trainer.progress.tables["metrics"]]
    return {int(line[0]): float(line[4]) for line in lines if line[2:4] == [split, metric]}


def by_hand(config: Config) -> tuple[torch.nn.Module, list[float]]:
    """The same run in a few plain lines: the network after it, and every mini-batch's loss."""
    loaded = data.load(config.data)
    model = build_model(config, tuple(loaded.train.images.shape[1:]), loaded.classes)
    order, losses = data.ExampleOrder(config, len(loaded.train)), []
    for step in range(config.steps):
        batch = order.batch(step)
        loss = F.cross_entropy(model(loaded.train.images[batch]), loaded.train.labels[batch])
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                parameter -= config.optimizer.lr * (gradient + config.optimizer.weight_decay * parameter)
        losses.append(loss.item())
    return model, losses


# ---------------------------------------------------------------------------------------------------- meaning


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_zero_steps_change_nothing(trainer: Callable[..., Trainer], norm: str) -> None:
    run = trainer(f"norm={norm}", "steps=0", *PROBES)
    before = weights(run.model)
    progress = run.run()
    assert_same(before, weights(run.model))
    assert (progress.status, progress.last_step) == ("finished", 0)
    assert set(rows(run, "test", "accuracy")) == {0}
    assert not rows(run, "train", "loss")


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_the_loop_is_plain_gradient_descent(
    trainer: Callable[..., Trainer], small: Callable[..., Config], norm: str
) -> None:
    run = trainer(f"norm={norm}", "optimizer.lr=0.3", "precision=float32")
    run.run()
    model, losses = by_hand(small(f"norm={norm}", "optimizer.lr=0.3"))
    torch.testing.assert_close(dict(run.model.named_parameters()), dict(model.named_parameters()))
    # What is logged between two evaluations is the mean of that stretch's mini-batches, and of no other.
    found, ends = rows(run, "train", "loss"), points(40, run.config.evaluation)
    for begin, end in itertools.pairwise(ends):
        assert found[end] == pytest.approx(sum(losses[begin:end]) / (end - begin), rel=1e-5)


def test_training_learns(trainer: Callable[..., Trainer]) -> None:
    run = trainer("norm=batch", "steps=300", "optimizer.lr=0.5")
    run.run()
    accuracy, loss = rows(run, "test", "accuracy"), rows(run, "validation", "loss")
    assert accuracy[0] < 0.3
    assert accuracy[300] > 0.75
    assert loss[300] < loss[0] / 2


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_same_seed_same_run_other_seed_other_run(trainer: Callable[..., Trainer], norm: str) -> None:
    runs = []
    for seed in (1, 2, 1):
        runs.append(trainer(f"norm={norm}", "model.dropout=0.3", f"seed={seed}"))
        runs[-1].run()
        torch.manual_seed(12345)
    one, other, again = runs
    assert_same(weights(one.model), weights(again.model))
    assert one.progress.tables == again.progress.tables
    assert one.progress.tables != other.progress.tables


@pytest.mark.parametrize("overrides", [("norm=none", "model.dropout=0.5"), ("norm=batch", "optimizer.momentum=0.9")])
@pytest.mark.parametrize("probes", [PROBES, (*PROBES, "probes.activations.min_interval=3")])
def test_probes_and_evaluations_change_nothing(
    trainer: Callable[..., Trainer], overrides: tuple[str, ...], probes: tuple[str, ...]
) -> None:
    runs = []
    for more in ((), probes, ("evaluation.min_interval=40",)):
        runs.append(trainer(*overrides, *more))
        runs[-1].run()
    silent, watched, seldom = runs
    assert_same(weights(silent.model), weights(watched.model))
    assert_same(weights(silent.model), weights(seldom.model))
    assert silent.progress.tables["metrics"] == watched.progress.tables["metrics"]
    assert all(watched.progress.tables[name] for name in ("activations", "layers", "histograms"))


def test_weight_decay_and_momentum_do_what_they_say(trainer: Callable[..., Trainer]) -> None:
    plain = trainer("norm=none", "steps=1", "optimizer.lr=0.1")
    decayed = trainer("norm=none", "steps=1", "optimizer.lr=0.1", "optimizer.weight_decay=0.5")
    before = weights(plain.model)
    plain.run(), decayed.run()
    for name, value in before.items():
        torch.testing.assert_close(plain.model.state_dict()[name] - decayed.model.state_dict()[name], 0.05 * value)


def test_accuracy_and_loss_are_those_of_the_whole_split(trainer: Callable[..., Trainer]) -> None:
    run = trainer("norm=batch")
    run.run()
    run.model.eval()
    split = data.load(run.config.data).test
    large = Split(split.images.repeat(6, 1, 1, 1), split.labels.repeat(6))  # longer than one chunk
    loss, accuracy, top5_accuracy = evaluate(run.model, large)
    scores = run.model(split.images)
    assert loss == pytest.approx(F.cross_entropy(scores, split.labels).item(), rel=1e-5)
    assert accuracy == (scores.argmax(1) == split.labels).double().mean().item()
    assert rows(run, "test", "accuracy")[40] == pytest.approx(accuracy, rel=1e-5)
    assert math.isnan(top5_accuracy)  # of ten classes half are among the five best


def test_training_accuracy_is_measured_on_request_on_examples_that_are_trained_on(
    trainer: Callable[..., Trainer],
) -> None:
    run = trainer("norm=batch", "evaluation.train_examples=30", "data.train_examples=40", "steps=200")
    run.run()
    assert set(rows(run, "train", "accuracy")) == set(rows(run, "test", "accuracy"))
    assert len(run.splits["train"]) == 30
    # Learned by heart: what is measured are the examples that were trained on.
    assert rows(run, "train", "accuracy")[200] > 0.9
    assert rows(run, "train", "accuracy")[200] > rows(run, "test", "accuracy")[200] + 0.05


# ------------------------------------------------------------------------------------------------------ resume


@pytest.mark.parametrize(
    "overrides",
    [
        ("norm=batch", "model.dropout=0.3", "optimizer.momentum=0.9"),
        ("norm=none", "model.dropout=0.3", "batch_size=100", "evaluation.train_examples=20"),
    ],
)
def test_stop_and_resume_is_bit_for_bit_the_undisturbed_run(
    trainer: Callable[..., Trainer], overrides: tuple[str, ...]
) -> None:
    # A probe schedule of its own: checkpoints also fall between two evaluations. 1,237 examples: over an epoch's end.
    overrides = (*overrides, *PROBES, "probes.activations.min_interval=7", "checkpoint_every_s=1e-9")
    whole, checkpoints = trainer(*overrides), []
    whole.callbacks = Callbacks(on_checkpoint=checkpoints.append)
    whole.run()
    assert len(checkpoints) >= 7
    steps = []
    for payload in checkpoints:
        resumed = trainer(*overrides)
        checkpoint.restore(resumed, payload)
        torch.randn(7)  # whatever else happens between the restart and the first step
        checkpoint.restore(resumed, payload)
        steps.append(resumed.progress.step)
        resumed.run()
        assert_same(weights(whole.model), weights(resumed.model))
        assert_same(whole.optimizer.state_dict(), resumed.optimizer.state_dict())
        assert whole.progress.tables == resumed.progress.tables
        assert (resumed.progress.status, resumed.progress.last_step) == ("finished", 40)
    assert steps == sorted(set(steps))
    assert 0 < steps[0] < steps[-1] < 40


@pytest.mark.parametrize("every", ["0", "1e6"])
def test_checkpoints_come_only_when_they_are_due(trainer: Callable[..., Trainer], every: str) -> None:
    run = trainer(f"checkpoint_every_s={every}")
    run.callbacks = Callbacks(on_checkpoint=lambda payload: pytest.fail("not due"))
    run.run()


@pytest.mark.parametrize("payload", [b"", b"not a checkpoint", b"PK\x03\x04broken"])
def test_what_is_no_checkpoint_is_refused(trainer: Callable[..., Trainer], payload: bytes) -> None:
    with pytest.raises(StoreError, match="does not fit"):
        checkpoint.restore(trainer(), payload)


def test_a_checkpoint_of_another_network_is_refused(trainer: Callable[..., Trainer]) -> None:
    with pytest.raises(StoreError, match="does not fit"):
        checkpoint.restore(trainer("norm=none"), checkpoint.save(trainer("norm=batch")))


# -------------------------------------------------------------------------------------------------- divergence


@pytest.mark.parametrize("interval", [1, 10])
@pytest.mark.parametrize(
    "cause",
    [
        ("optimizer.lr=1e12",),
        ("optimizer.lr=1", "optimizer.weight_decay=4"),  # weights grow threefold a step
        ("optimizer.lr=1", "optimizer.weight_decay=11"),
    ],
)
def test_divergence_is_recorded_at_the_first_loss_that_is_not_finite(
    trainer: Callable[..., Trainer], small: Callable[..., Config], cause: tuple[str, ...], interval: int
) -> None:
    overrides = ("norm=none", "model.activation=relu", "model.init_scale=0.5", *cause, *PROBES)
    overrides = (*overrides, "probes.activations.min_interval=1", f"evaluation.min_interval={interval}")
    run = trainer(*overrides)
    progress = run.run()
    _, losses = by_hand(small(*overrides))
    first = next(i for i, loss in enumerate(losses, 1) if not torch.isfinite(torch.tensor(loss)))
    assert progress.status == "diverged"
    # An evaluation may see it one update before the next mini-batch would.
    assert progress.last_step in (first, first - 1)
    assert interval == 1 or progress.last_step == first or progress.last_step % interval == 0
    for name, lines in progress.tables.items():
        assert not [line for line in lines if "nan" in line or "inf" in line], name
        assert all(int(line.split(",")[0]) < progress.last_step for line in lines), name


def test_a_network_that_starts_out_broken_has_diverged_at_step_0(trainer: Callable[..., Trainer]) -> None:
    for steps in (0, 20):
        run = trainer("norm=none", "model.activation=relu", "model.init_scale=1e30", f"steps={steps}", *PROBES)
        progress = run.run()
        assert (progress.status, progress.last_step) == ("diverged", 0)
        assert not any(progress.tables.values())


def test_a_network_that_cannot_process_the_data_is_refused(
    trainer: Callable[..., Trainer], small: Callable[..., Config]
) -> None:
    config = small("norm=none")
    config.norm = {"name": "mine", "_target_": "torch.nn.BatchNorm2d"}
    with pytest.raises(ConfigError, match="cannot process UCI digits, binary: expected 4D"):
        Trainer(config, data.load(config.data))


# ---------------------------------------------------------------------------------- precision, several processes


def test_bfloat16_is_for_the_arithmetic_alone(trainer: Callable[..., Trainer]) -> None:
    runs = {name: trainer("norm=batch", "optimizer.lr=0.3", f"precision={name}") for name in ("float32", "bfloat16")}
    for run in runs.values():
        run.run()
    full, half = runs["float32"], runs["bfloat16"]
    assert {parameter.dtype for parameter in half.model.parameters()} == {torch.float32}
    one, other = (run.model.state_dict()["output.weight"] for run in (full, half))
    assert 1e-4 < (one - other).abs().max() / one.abs().max() < 0.1  # another arithmetic, the same training
    seen: list[torch.dtype] = []
    half.model.get_submodule("output").register_forward_hook(lambda module, inputs, scores: seen.append(scores.dtype))
    half.advance(1)
    assert seen == [torch.bfloat16]


def test_synchronised_normalisation_takes_the_place_of_the_library_s_alone(small: Callable[..., Config]) -> None:
    config = small("norm=batch")
    plain = Trainer(config, data.load(config.data))
    config.sync_batch_norm = True  # which a CPU's configuration refuses, since it could not train with it
    synchronised = Trainer(config, data.load(config.data))
    kinds = [type(block.norm) for block in synchronised.model.hidden]  # type: ignore[attr-defined]
    assert kinds == [torch.nn.SyncBatchNorm] * 2
    assert_same(weights(plain.model), weights(synchronised.model))
    # The kernel would drop the noise, and the arithmetic from scratch.
    for norm in ("reference_batch", "batch_noisy", "layer", "ghost_batch", "batch_renorm", "weight"):
        config = small(f"norm={norm}")
        config.sync_batch_norm = True
        with pytest.raises(ConfigError, match=f"norm={norm} cannot be synchronised"):
            Trainer(config, data.load(config.data))
