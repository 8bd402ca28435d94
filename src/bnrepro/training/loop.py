"""The training loop, visible in one file: step, evaluate, probe, checkpoint.

It knows no folders, dashboards or Hydra: a configuration, data and callbacks come in, rows come out. It is the
reference for fleets, and the engine of streamed data and of `torchrun`.
"""

from __future__ import annotations

import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnrepro.config.randomness import derive_seed
from bnrepro.config.schedule import learning_rate
from bnrepro.config.schema import Config
from bnrepro.data import AnyDataset, open_batches
from bnrepro.training import checkpoint
from bnrepro.training.checkpoint import Progress
from bnrepro.training.distributed import ALONE, Group
from bnrepro.training.evaluation import evaluate, named
from bnrepro.training.optimizer import SGD
from bnrepro.training.state import Callbacks, Placed, RunState


class Trainer(RunState):
    """One run: build it, optionally restore it from a checkpoint, then :meth:`run` it to its end."""

    def __init__(
        self, config: Config, data: AnyDataset, callbacks: Callbacks | None = None, group: Group = ALONE
    ) -> None:
        torch.set_num_threads(config.threads)
        self.group = group
        super().__init__(config, Placed.of(config, data), callbacks)
        # What training calls: while several processes train, it also averages their gradients.
        self.network: nn.Module = self.model
        self.optimizer = SGD(self.model.parameters(), config.optimizer)
        self.batches = open_batches(config, self.train_set, self.order, group.rank)

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
        started, saved = time.perf_counter() - self.progress.seconds, time.perf_counter()
        if self.untouched:
            # Only layers that draw during training (dropout, a user's own) use the global generator.
            rank = [self.group.rank] if self.group.rank else []
            torch.manual_seed(derive_seed(self.config.seed, "layers", *rank))
            self.look(0)
        for stop in self.stops:
            if self.progress.diverged:
                break
            if stop <= self.progress.step:
                continue
            self._steps_until(stop)
            self.progress.seconds = time.perf_counter() - started
            if not self.progress.diverged:
                self.look(stop)
            every = self.config.checkpoint_every_s
            due = every and stop < self.config.steps and time.perf_counter() - saved > every
            if not self.progress.diverged and self.group.share(lambda due=due: due):
                payload = checkpoint.save(self)
                if self.group.leads:
                    self.callbacks.on_checkpoint(payload)
                saved = time.perf_counter()
        self.end()
        self.progress.seconds = time.perf_counter() - started

    def _steps_until(self, stop: int) -> None:
        """Parameter updates up to step ``stop``: the inner loop, which never waits for a number from the device."""
        network, optimizer = self.network, self.optimizer
        parameters = list(self.model.parameters())
        decay, autocast = self.config.optimizer.decay, self.autocast()
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
        self.add_losses(self.group.mean(torch.stack(losses)))

    def advance(self, count: int) -> None:
        """Make the next ``count`` updates without evaluations and probes, for timing and tests."""
        self.model.train()
        self._steps_until(self.progress.step + count)
        self.progress.pending.clear()  # without an evaluation, the losses would pile up

    def evaluate(self, step: int) -> dict[str, float]:
        values = self.mean_loss()
        self.model.eval()
        self.group.share_buffers(self.model)
        for name, split in self.splits_at(step).items():
            with self.autocast():
                values |= named(name, evaluate(self.model, split, self.group))
        self.model.train()
        return values

    # --------------------------------------------------------------------------------------- for checkpoints

    @property
    def leads(self) -> bool:
        return self.group.leads

    def skipped_images(self) -> list[str]:
        """Paths of all images that any process skipped, before a stop and since."""
        return sorted(set().union(*self.group.gather(super().skipped_images())))

    def random_states(self) -> list[list[Tensor]]:
        """States of the global generators that each process draws from: those of the CPU and of its GPU."""
        on_cuda = self.config.device == "cuda"
        return self.group.gather([torch.get_rng_state(), *([torch.cuda.get_rng_state()] if on_cuda else [])])

    def set_random_states(self, states: list[list[Tensor]]) -> None:
        cpu, *cuda = states[self.group.rank]
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state(cuda[0])
