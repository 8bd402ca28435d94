"""The training loop, visible in one file: step, evaluate, probe, checkpoint.

Nothing here knows folders, dashboards or Hydra: a configuration, data and two callbacks come in, rows come out.
"""

from __future__ import annotations

import io
import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnrepro.config import norm_name
from bnrepro.data import Dataset, ExampleOrder, Split, augment
from bnrepro.errors import ConfigError, StoreError
from bnrepro.models import build_model, memory_format
from bnrepro.probes import Observation, build_probes, watching
from bnrepro.randomness import derive_seed
from bnrepro.schedule import evenly, learning_rate, points
from bnrepro.schema import AugmentationConfig, Config

METRICS_HEADER = "step,examples,split,metric,value"
EVALUATION_CHUNK, COLOUR_CHUNK = 2000, 250
"""Images evaluated at a time: fewer where a convolutional network's layers would not fit the processor's caches."""


@dataclass
class Progress:
    """Where a run stands: everything that a checkpoint must hold besides the network and the optimiser."""

    step: int = 0
    status: str = "running"
    last_step: int = 0
    seconds: float = 0.0
    pending: list[Tensor] = field(default_factory=list)
    """Losses of the mini-batches since the last evaluation."""
    tables: dict[str, list[str]] = field(default_factory=dict)
    """CSV lines per table, without what identifies the run."""


@dataclass
class Callbacks:
    """Who listens. They can delay the training but not change it."""

    on_evaluation: Callable[[int, dict[str, float]], None] = lambda step, values: None
    on_observation: Callable[[int, Observation], None] = lambda step, seen: None
    on_checkpoint: Callable[[bytes], None] = lambda payload: None


class Trainer:
    """One run: build it, optionally :meth:`restore` it from a checkpoint, then :meth:`run` it to its end."""

    def __init__(self, config: Config, data: Dataset, callbacks: Callbacks | None = None) -> None:
        torch.set_num_threads(config.threads)
        self.config, self.callbacks = config, callbacks or Callbacks()
        dtype = getattr(torch, config.precision)
        layout = memory_format(config)
        self.model = build_model(config, tuple(data.train.images.shape[1:]), data.classes)
        self.model.to(config.device, dtype, memory_format=layout)  # pyright: ignore[reportCallIssue]
        self.optimizer = torch.optim.SGD(
            self.model.parameters(),
            lr=config.optimizer.lr,
            momentum=config.optimizer.momentum,
            weight_decay=config.optimizer.weight_decay,
            fused=True,
        )
        self.order = ExampleOrder(config, len(data.train))
        self.augmented = config.augmentation != AugmentationConfig()
        self.data_label = data.label
        self.train_set = data.train.to(config.device, dtype, layout)
        test = data.test.to(config.device, dtype, layout)
        self.splits = {
            "validation": data.validation.to(config.device, dtype, layout),
            "test": test.part(config.evaluation.test_examples, "test"),
        }
        # Where the frequent evaluations look at a part of the test set, the whole of it is looked at a few times.
        self.whole_test = test if config.evaluation.test_examples else None
        if config.evaluation.train_examples:
            seen = self.order.subset[: config.evaluation.train_examples].to(config.device)
            self.splits["train"] = Split(self.train_set.images[seen], self.train_set.labels[seen])
        self.probes = build_probes(config, data, self.model)
        self.evaluations = frozenset(points(config.steps, config.evaluation))
        self.whole_evaluations = frozenset(evenly(config.steps, config.evaluation.whole_test if self.whole_test else 0))
        self.evaluations |= self.whole_evaluations
        self.progress = Progress(tables={"metrics": []})
        for probe in self.probes:
            self.progress.tables |= {name: [] for name in probe.headers}
        self._try_out()

    def _try_out(self) -> None:
        """Refuse, before anything is written, a network that cannot process the data."""
        with watching(self.model):
            try:
                self.model(self.train_set.images[:2])
            except (RuntimeError, TypeError, ValueError) as error:
                raise ConfigError(f"this network cannot process {self.data_label}: {error}") from error
        if self.config.batch_size == 1:
            refuse_batch_of_one(self.model, self.config, self.train_set.images[:1])

    # ------------------------------------------------------------------------------------------------ the loop

    def run(self) -> Progress:
        """Train to the last step or to divergence. ``progress.status`` tells which: ``finished``, ``diverged``."""
        self.model.train()
        stops = sorted(self.evaluations.union(*(probe.steps for probe in self.probes)))
        started, saved = time.perf_counter() - self.progress.seconds, time.perf_counter()
        if self.progress.step == 0 and not self.progress.tables["metrics"]:
            # Layers that draw during training (dropout, a user's own) draw from the global generator, and nobody else.
            torch.manual_seed(derive_seed(self.config.seed, "layers"))
            self._look(0)
        for stop in stops:
            if self.progress.status == "diverged":
                break
            if stop <= self.progress.step:
                continue
            self._steps_until(stop)
            self.progress.seconds = time.perf_counter() - started
            if self.progress.status != "diverged":
                self._look(stop)
            every = self.config.checkpoint_every_s
            due = every and stop < self.config.steps and time.perf_counter() - saved > every
            if due and self.progress.status != "diverged":
                self.callbacks.on_checkpoint(self.state())
                saved = time.perf_counter()
        if self.progress.status != "diverged":
            self.progress.status, self.progress.last_step = "finished", self.config.steps
        self.progress.seconds = time.perf_counter() - started
        return self.progress

    def _steps_until(self, stop: int) -> None:
        """Parameter updates up to step ``stop``: the inner loop, in which nothing waits for a number."""
        model, optimizer, order = self.model, self.optimizer, self.order
        images, labels = self.train_set.images, self.train_set.labels
        parameters = list(model.parameters())
        decay, augmented = self.config.optimizer.decay, self.augmented
        losses = []
        first = self.progress.step
        batches = [order.batch(index) for index in range(first, stop)]
        # The labels of the whole stretch in one gather, and gradients dropped by hand: each saves a few per cent.
        targets = labels[torch.cat(batches).to(labels.device)].split(self.config.batch_size)
        for step, (batch, target) in enumerate(zip(batches, targets, strict=True), first):
            inputs = images.index_select(0, batch.to(images.device, non_blocking=True))
            if augmented:
                inputs = augment(inputs, self.config.augmentation, self.config.seed, step)
            if decay != 1.0:
                optimizer.param_groups[0]["lr"] = learning_rate(self.config.optimizer, step, self.config.steps)
            loss = F.cross_entropy(model(inputs), target)
            for parameter in parameters:
                parameter.grad = None
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        finite = torch.isfinite(torch.stack(losses))
        if not finite.all():
            first = int((~finite).nonzero()[0])
            self.progress.status, self.progress.last_step = "diverged", self.progress.step + first + 1
        self.progress.pending += losses
        self.progress.step = stop

    def advance(self, count: int) -> None:
        """The next ``count`` updates alone, without looking at anything: for those who time or watch them."""
        self.model.train()
        self._steps_until(self.progress.step + count)
        self.progress.pending.clear()  # the evaluation's part: else the losses pile up

    # -------------------------------------------------------------------------------------------- what is seen

    def _look(self, step: int) -> None:
        if step in self.evaluations:
            values = self._evaluate(step)
            if not all(torch.isfinite(torch.tensor(list(values.values())))):
                # The last update broke the network although its own loss was still finite.
                self.progress.status, self.progress.last_step = "diverged", step
                return
            examples = step * self.config.batch_size
            self.progress.tables["metrics"] += [
                f"{step},{examples},{name.replace('/', ',')},{value:.6g}" for name, value in values.items()
            ]
            self.callbacks.on_evaluation(step, values)
        for probe in self.probes:
            if step in probe.steps:
                seen = probe.observe(self.model, step)
                for name, rows in seen.rows.items():
                    self.progress.tables[name] += rows
                self.callbacks.on_observation(step, seen)

    def _evaluate(self, step: int | None = None) -> dict[str, float]:
        """``split/metric`` → value. ``train/loss`` is the mean mini-batch loss since the last evaluation, never a pass
        of its own; ``train/accuracy`` is there if ``evaluation.train_examples`` asks for it."""
        values = {}
        if self.progress.pending:
            values["train/loss"] = torch.stack(self.progress.pending).double().mean().item()
            self.progress.pending = []
        self.model.eval()
        whole = {"whole_test": self.whole_test} if self.whole_test and step in self.whole_evaluations else {}
        for name, split in (self.splits | whole).items():
            loss, values[f"{name}/accuracy"] = evaluate(self.model, split)
            if name != "train":
                values[f"{name}/loss"] = loss
        self.model.train()
        return values

    # -------------------------------------------------------------------------------------------- checkpointing

    def state(self) -> bytes:
        """Everything that the rest of the run depends on. The order of examples needs no state: see ExampleOrder."""
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": self.progress.__dict__,
            "generator": torch.get_rng_state(),
        }
        if self.config.device == "cuda":
            state["cuda_generator"] = torch.cuda.get_rng_state()
        buffer = io.BytesIO()
        torch.save(state, buffer)
        return buffer.getvalue()

    def restore(self, payload: bytes) -> None:
        """Go on from :meth:`state`. Raises :class:`StoreError` if it does not belong to this configuration."""
        try:
            state = torch.load(io.BytesIO(payload), map_location=self.config.device, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.progress = Progress(**state["progress"])
            torch.set_rng_state(state["generator"].cpu())
            if self.config.device == "cuda":
                torch.cuda.set_rng_state(state["cuda_generator"].cpu())
        except (RuntimeError, KeyError, TypeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise StoreError(f"the checkpoint does not fit this configuration: {error}") from error


def refuse_batch_of_one(model: nn.Module, config: Config, image: Tensor) -> None:
    """Raise :class:`ConfigError` if ``model`` cannot be trained on mini-batches of one, as one that normalises over
    the mini-batch cannot: the variance of a single value is 0 whatever the value, and every output the same.

    Nothing of the network changes. ``image`` is (1, channels, height, width).
    """
    with watching(model):
        model.train()
        copies = {name: buffer.clone() for name, buffer in model.named_buffers()}
        try:
            torch.func.functional_call(model, copies, (image,))
        except ValueError as error:
            raise ConfigError(
                f"batch_size=1: norm={norm_name(config.norm)} has one value of each feature to take a variance of. "
                f"Use mini-batches of at least 2, or a norm over the features of one example: norm=layer. ({error})"
            ) from error


@torch.inference_mode()
def evaluate(model: nn.Module, split: Split) -> tuple[float, float]:
    """Mean cross-entropy and accuracy (a fraction) of ``model``, in its present mode, over ``split``."""
    loss = torch.zeros((), dtype=torch.float64, device=split.labels.device)
    correct = torch.zeros((), dtype=torch.int64, device=split.labels.device)
    chunk = EVALUATION_CHUNK if split.images.shape[1] == 1 else COLOUR_CHUNK
    for images, labels in zip(split.images.split(chunk), split.labels.split(chunk), strict=True):
        scores = model(images)
        loss += F.cross_entropy(scores, labels, reduction="sum")
        correct += (scores.argmax(1) == labels).sum()
    return loss.item() / len(split), correct.item() / len(split)
