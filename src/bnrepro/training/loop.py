"""The training loop, visible in one file: step, evaluate, probe, checkpoint.

It knows no folders, dashboards or Hydra: a configuration, data and callbacks come in, rows come out.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bnrepro.config.identity import identity, norm_name
from bnrepro.config.randomness import derive_seed
from bnrepro.config.schedule import evaluations, learning_rate, whole_evaluations
from bnrepro.config.schema import Config
from bnrepro.data import AnyDataset, ExampleOrder, open_batches, part_of
from bnrepro.errors import ConfigError
from bnrepro.models import build_model, memory_format, parameter_dtype
from bnrepro.norm import BatchNorm
from bnrepro.probes import Observation, build_probes, forward_on_copies, watching
from bnrepro.training import checkpoint
from bnrepro.training.checkpoint import Progress
from bnrepro.training.distributed import ALONE, Group
from bnrepro.training.evaluation import TOP_K, evaluate
from bnrepro.training.optimizer import SGD
from bnrepro.training.trial import try_out

METRICS_HEADER = "step,examples,split,metric,value"


@dataclass
class Callbacks:
    """Functions that training calls. They can delay it but not change it."""

    on_evaluation: Callable[[int, dict[str, float]], None] = lambda step, values: None
    on_observation: Callable[[int, Observation], None] = lambda step, seen: None
    on_checkpoint: Callable[[bytes], None] = lambda payload: None


class Trainer:
    """One run: build it, optionally restore it from a checkpoint, then :meth:`run` it to its end."""

    def __init__(
        self, config: Config, data: AnyDataset, callbacks: Callbacks | None = None, group: Group = ALONE
    ) -> None:
        torch.set_num_threads(config.threads)
        self.config, self.callbacks, self.group = config, callbacks or Callbacks(), group
        dtype, layout = parameter_dtype(config), memory_format(config)
        try_out(config, data.train.example_shape, data.classes)
        self.model = build_model(config, data.train.example_shape, data.classes)
        if config.sync_batch_norm:
            self.model = synchronised(self.model, config)
        self.model.to(config.device, dtype, memory_format=layout)  # pyright: ignore[reportCallIssue]
        # What training calls: while several processes train, it also averages their gradients.
        self.network = self.model
        self.optimizer = SGD(self.model.parameters(), config.optimizer)
        self.order = ExampleOrder(config, len(data.train))
        self.data_label, self.known_unreadable = data.label, data.unreadable
        # Typed Any for callers that know it to be in memory.
        self.train_set: Any = data.train.to(config.device, dtype, layout)
        self.batches = open_batches(config, self.train_set, self.order, group.rank)
        test = data.test.to(config.device, dtype, layout)
        self.splits: dict[str, Any] = {
            "validation": data.validation.to(config.device, dtype, layout),
            "test": part_of(test, config.evaluation.test_examples, "test"),
        }
        # If the frequent evaluations use a part of the test set, a few evaluations use all of it.
        self.whole_test = test if config.evaluation.test_examples else None
        if config.evaluation.train_examples:
            self.splits["train"] = self.train_set.at(self.order.subset[: config.evaluation.train_examples])
        self.probes = build_probes(config, data, self.model)
        self.evaluations = evaluations(config.steps, config.evaluation)
        self.whole_evaluations = whole_evaluations(config.steps, config.evaluation)
        # Computed now, since a user may edit the source of a normaliser while it trains.
        self.identity = identity(config, data.fingerprint)
        self.progress = Progress(tables={"metrics": []})
        for probe in self.probes:
            self.progress.tables |= {name: [] for name in probe.headers}
        self._try_out()

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        """The context for the arithmetic of ``precision=bfloat16``; the parameters stay float32."""
        if self.config.precision != "bfloat16":
            return contextlib.nullcontext()
        return torch.autocast(self.config.device, torch.bfloat16)

    def _try_out(self) -> None:
        """Refuse a network that cannot process the data before anything is written."""
        with watching(self.model), self._autocast():
            try:
                self.model(self.train_set.sample(2))
            except (RuntimeError, TypeError, ValueError) as error:
                raise ConfigError(f"this network cannot process {self.data_label}: {error}") from error
        if self.config.batch_size == self.config.processes:
            refuse_batch_of_one(self.model, self.config, self.train_set.sample(1))

    # ------------------------------------------------------------------------------------------------ the loop

    def run(self) -> Progress:
        """Train to the last step or to divergence; ``progress.status`` is then ``finished`` or ``diverged``."""
        self.network = self.group.wrap(self.model)
        try:
            self._train()
        finally:
            # Before the group ends: a wrapper left behind would wait for it forever.
            self.network = self.model
        self.progress.unreadable = self.skipped_images()
        return self.progress

    def _train(self) -> None:
        self.model.train()
        stops = sorted(self.evaluations.union(*(probe.steps for probe in self.probes)))
        started, saved = time.perf_counter() - self.progress.seconds, time.perf_counter()
        if self.progress.step == 0 and not self.progress.tables["metrics"]:
            # Only layers that draw during training (dropout, a user's own) use the global generator.
            rank = [self.group.rank] if self.group.rank else []
            torch.manual_seed(derive_seed(self.config.seed, "layers", *rank))
            self._look(0)
        for stop in stops:
            if self.progress.diverged:
                break
            if stop <= self.progress.step:
                continue
            self._steps_until(stop)
            self.progress.seconds = time.perf_counter() - started
            if not self.progress.diverged:
                self._look(stop)
            every = self.config.checkpoint_every_s
            due = every and stop < self.config.steps and time.perf_counter() - saved > every
            if not self.progress.diverged and self.group.share(lambda due=due: due):
                payload = checkpoint.save(self)
                if self.group.leads:
                    self.callbacks.on_checkpoint(payload)
                saved = time.perf_counter()
        if not self.progress.diverged:
            self.progress.status, self.progress.last_step = "finished", self.config.steps
        self.progress.seconds = time.perf_counter() - started

    def _steps_until(self, stop: int) -> None:
        """Parameter updates up to step ``stop``: the inner loop, which never waits for a number from the device."""
        network, optimizer = self.network, self.optimizer
        parameters = list(self.model.parameters())
        decay, autocast = self.config.optimizer.decay, self._autocast()
        losses = []
        first = self.progress.step
        for step, (inputs, target) in enumerate(self.batches.between(first, stop), first):
            if decay != 1.0:
                optimizer.rate = learning_rate(self.config.optimizer, step, self.config.steps)
            with autocast:
                loss = F.cross_entropy(network(inputs), target)
            # A few per cent faster than model.zero_grad().
            for parameter in parameters:
                parameter.grad = None
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        means = self.group.mean(torch.stack(losses))
        finite = torch.isfinite(means)
        if not finite.all():
            self.progress.status, self.progress.last_step = "diverged", first + int((~finite).nonzero()[0]) + 1
        self.progress.pending += means.unbind()
        self.progress.step = stop

    def advance(self, count: int) -> None:
        """Make the next ``count`` updates without evaluations and probes, for timing and tests."""
        self.model.train()
        self._steps_until(self.progress.step + count)
        self.progress.pending.clear()  # without an evaluation, the losses would pile up

    # -------------------------------------------------------------------------------- evaluations and probes

    def _look(self, step: int) -> None:
        """Evaluate and probe, where ``step`` is due for it."""
        if step in self.evaluations:
            values = self._evaluate(step)
            if not all(map(math.isfinite, values.values())):
                # The last update broke the network although its own loss was still finite.
                self.progress.status, self.progress.last_step = "diverged", step
                return
            examples = step * self.config.batch_size
            self.progress.tables["metrics"] += [
                f"{step},{examples},{name.replace('/', ',')},{value:.6g}" for name, value in values.items()
            ]
            self.callbacks.on_evaluation(step, values)
        for probe in self.probes:
            if step in probe.steps and self.group.leads:
                seen = probe.observe(self.model, step)
                for name, rows in seen.rows.items():
                    self.progress.tables[name] += rows
                self.callbacks.on_observation(step, seen)

    def _evaluate(self, step: int | None = None) -> dict[str, float]:
        """``split/metric`` → value.

        ``train/loss`` is the mean mini-batch loss since the last evaluation, never a pass of its own;
        ``train/accuracy`` exists if ``evaluation.train_examples`` asks for it.
        """
        values = {}
        if self.progress.pending:
            values["train/loss"] = torch.stack(self.progress.pending).double().mean().item()
            self.progress.pending = []
        self.model.eval()
        self.group.share_buffers(self.model)
        whole = {"whole_test": self.whole_test} if self.whole_test and step in self.whole_evaluations else {}
        for name, split in (self.splits | whole).items():
            with self._autocast():
                found = evaluate(self.model, split, self.group)
            values[f"{name}/accuracy"] = found.accuracy
            if name != "train":
                values[f"{name}/loss"] = found.loss
            if not math.isnan(found.top5_accuracy):
                values[f"{name}/top{TOP_K}_accuracy"] = found.top5_accuracy
        self.model.train()
        return values

    def skipped_images(self) -> list[str]:
        """Paths of all images that any process skipped, before a stop and since."""
        mine = {path for split in (self.train_set, *self.splits.values()) for path in getattr(split, "unreadable", ())}
        return sorted(set().union(*self.group.gather(mine), self.progress.unreadable, self.known_unreadable))


def synchronised(model: nn.Module, config: Config) -> nn.Module:
    """``model`` with PyTorch's synchronised kernel in place of its plain one.

    Raises :class:`ConfigError` for any other normaliser: the kernel would drop what a class of its own adds.
    """
    kinds = {type(module) for module in model.modules() if isinstance(module, _BatchNorm)}
    if not kinds or not kinds <= {BatchNorm, nn.BatchNorm1d, nn.BatchNorm2d}:
        raise ConfigError(f"sync_batch_norm=true: norm={norm_name(config.norm)} cannot be synchronised; use norm=batch")
    return nn.SyncBatchNorm.convert_sync_batchnorm(model)


def refuse_batch_of_one(model: nn.Module, config: Config, image: Tensor) -> None:
    """Raise :class:`ConfigError` if ``model`` cannot be trained on mini-batches of one.

    A layer that normalises over the mini-batch cannot: the variance of a single value is always 0, and every output the
    same. Nothing changes in the network. ``image`` is (1, channels, height, width).
    """
    with watching(model):
        model.train()
        try:
            forward_on_copies(model, image)
        except ValueError as error:
            raise ConfigError(
                f"batch_size=1: norm={norm_name(config.norm)} has one value of each feature, which has no variance. "
                f"Use mini-batches of at least 2, or a norm over the features of one example: norm=layer. ({error})"
            ) from error
