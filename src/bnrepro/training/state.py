"""A run between two updates: its network, its data, its probes, and everything recorded of it so far.

Both engines train such states: the single loop (:mod:`~bnrepro.training.loop`) one at a time, a fleet
(:mod:`~bnrepro.training.fleet`) many at once.
"""

from __future__ import annotations

import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bnrepro.config.identity import identity, norm_name
from bnrepro.config.schedule import evaluations, whole_evaluations
from bnrepro.config.schema import Config
from bnrepro.data import AnyDataset, ExampleOrder, part_of
from bnrepro.errors import ConfigError
from bnrepro.models import build_model, memory_format, parameter_dtype
from bnrepro.models.blocks import start_from
from bnrepro.norm import BatchNorm
from bnrepro.probes import Observation, build_probes, forward_on_copies, restoring, watching
from bnrepro.training.checkpoint import Progress
from bnrepro.training.trial import own_code, try_out

METRICS_HEADER = "step,examples,split,metric,value"


@dataclass
class Callbacks:
    """Functions that training calls. They can delay it but not change it."""

    on_evaluation: Callable[[int, dict[str, float]], None] = lambda step, values: None
    on_observation: Callable[[int, Observation], None] = lambda step, seen: None
    on_checkpoint: Callable[[bytes], None] = lambda payload: None


@dataclass(frozen=True)
class Placed:
    """A data set on the device of a network, in the type and layout that the network takes.

    ``whole_test`` is set if the frequent evaluations use a part of the test set: a few evaluations use all of it.
    """

    source: AnyDataset
    train: Any
    validation: Any
    test: Any
    whole_test: Any

    @classmethod
    def of(cls, config: Config, data: AnyDataset) -> Placed:
        where = (config.device, parameter_dtype(config), memory_format(config))
        # Typed Any for callers that know it to be in memory.
        train, validation, test = (split.to(*where) for split in (data.train, data.validation, data.test))
        part = part_of(test, config.evaluation.test_examples, "test")
        return cls(data, train, validation, part, test if config.evaluation.test_examples else None)


class RunState(ABC):
    """The network of a run with its initial weights, and its record, still empty.

    Raises :class:`ConfigError` if the network cannot process the data: before anything is written.
    """

    def __init__(self, config: Config, placed: Placed, callbacks: Callbacks | None = None) -> None:
        self.config, self.callbacks = config, callbacks or Callbacks()
        data = placed.source
        try_out(config, data.train.example_shape, data.classes)
        self.model = build_model(config, data.train.example_shape, data.classes)
        if config.sync_batch_norm:
            self.model = synchronised(self.model, config)
        self.model.to(config.device, parameter_dtype(config), memory_format=memory_format(config))  # pyright: ignore
        self.order = ExampleOrder(config, len(data.train))
        self.data_label, self.known_unreadable = data.label, data.unreadable
        self.train_set: Any = placed.train
        self.splits: dict[str, Any] = {"validation": placed.validation, "test": placed.test}
        self.whole_test = placed.whole_test
        if config.evaluation.train_examples:
            self.splits["train"] = self.train_set.at(self.order.subset[: config.evaluation.train_examples])
        self._try_out()  # before the probes, which look at the network at once
        self.probes = build_probes(config, data, self.model)
        self.evaluations = evaluations(config.steps, config.evaluation)
        self.whole_evaluations = whole_evaluations(config.steps, config.evaluation)
        # Computed now, since a user may edit the source of a normaliser while it trains.
        self.identity = identity(config, data.fingerprint)
        self.progress = Progress(tables={"metrics": []})
        for probe in self.probes:
            self.progress.tables |= {name: [] for name in probe.headers}
        self._start()

    @property
    def stops(self) -> list[int]:
        """The steps at which training stops to look at the network."""
        return sorted(self.evaluations.union(*(probe.steps for probe in self.probes)))

    @property
    def untouched(self) -> bool:
        """Whether nothing has been trained or recorded yet."""
        return self.progress.step == 0 and not self.progress.tables["metrics"]

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """The context for the arithmetic of ``precision=bfloat16``; the parameters stay float32."""
        if self.config.precision != "bfloat16":
            return contextlib.nullcontext()
        return torch.autocast(self.config.device, torch.bfloat16)

    def _try_out(self) -> None:
        """Refuse a network that cannot process the data before anything is written."""
        with watching(self.model), self.autocast():
            try:
                self.model(self.train_set.sample(2))
            except (RuntimeError, TypeError, ValueError) as error:
                raise ConfigError(f"this network cannot process {self.data_label}: {error}") from error
        if self.config.batch_size == self.config.processes:
            refuse_batch_of_one(self.model, self.config, self.train_set.sample(1))

    def _start(self) -> None:
        """Have the normalisers that start from data see the first mini-batch, as it is before any augmentation."""
        with restoring(self.model), own_code(self.config), self.autocast():
            start_from(self.model, lambda: self.train_set.at(self.order.batch(0)).sample(self.config.batch_size))

    # -------------------------------------------------------------------------------- evaluations and probes

    @abstractmethod
    def evaluate(self, step: int) -> dict[str, float]:
        """``split/metric`` → value.

        ``train/loss`` is the mean mini-batch loss since the last evaluation, never a pass of its own;
        ``train/accuracy`` exists if ``evaluation.train_examples`` asks for it.
        """

    @property
    def leads(self) -> bool:
        """Whether this process observes and writes."""
        return True

    def splits_at(self, step: int) -> dict[str, Any]:
        """The splits that an evaluation at ``step`` uses."""
        return self.splits | ({"whole_test": self.whole_test} if step in self.whole_evaluations else {})

    def mean_loss(self) -> dict[str, float]:
        """The mean loss of the mini-batches since the last evaluation, which are then forgotten."""
        if not self.progress.pending:
            return {}
        mean = torch.stack(self.progress.pending).double().mean().item()
        self.progress.pending = []
        return {"train/loss": mean}

    def look(self, step: int) -> None:
        """Evaluate and probe, where ``step`` is due for it."""
        if step in self.evaluations:
            values = self.evaluate(step)
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
            if step in probe.steps and self.leads:
                seen = probe.observe(self.model, step)
                for name, rows in seen.rows.items():
                    self.progress.tables[name] += rows
                self.callbacks.on_observation(step, seen)

    def add_losses(self, losses: Tensor) -> None:
        """Note the losses (n,) of the next ``n`` updates; the first that is not finite ends the run."""
        first = self.progress.step
        finite = torch.isfinite(losses)
        if not finite.all():
            self.progress.status, self.progress.last_step = "diverged", first + int((~finite).nonzero()[0]) + 1
        self.progress.pending += losses.unbind()
        self.progress.step = first + len(losses)

    def end(self) -> None:
        """Note that the last step is done, unless the run has diverged."""
        if not self.progress.diverged:
            self.progress.status, self.progress.last_step = "finished", self.config.steps

    def skipped_images(self) -> list[str]:
        """Paths of all images that were skipped, before a stop and since."""
        mine = {path for split in (self.train_set, *self.splits.values()) for path in getattr(split, "unreadable", ())}
        return sorted(mine.union(self.progress.unreadable, self.known_unreadable))


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
