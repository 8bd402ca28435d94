"""A run in a fleet: its record and its random numbers are its own, its network lies in a place of the stack."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bnrepro.config.randomness import derive_seed
from bnrepro.config.schedule import learning_rate
from bnrepro.config.schema import Config
from bnrepro.training.evaluation import Evaluation, named
from bnrepro.training.fleet.stack import Stack
from bnrepro.training.state import Callbacks, Placed, RunState


class Velocities:
    """The optimiser's part of a checkpoint, in the form of :class:`~bnrepro.training.optimizer.SGD`."""

    def __init__(self, shapes: list[torch.Size]) -> None:
        self.shapes, self.values = shapes, list[Tensor]()

    def state_dict(self) -> dict[str, Any]:
        return {"velocities": self.values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises ``ValueError`` if ``state`` belongs to another network."""
        if state["velocities"] and [value.shape for value in state["velocities"]] != self.shapes:
            raise ValueError("the velocities have other shapes than the parameters")
        self.values = list(state["velocities"])


class Seat(RunState):
    """A run that trains in a fleet. ``model`` and ``optimizer`` are copies, true after :meth:`fetch`."""

    def __init__(self, config: Config, placed: Placed, callbacks: Callbacks | None = None) -> None:
        super().__init__(config, placed, callbacks)
        self.model.train()
        self.optimizer = Velocities([parameter.shape for parameter in self.model.parameters()])
        self.generator = torch.Generator(config.device).manual_seed(derive_seed(config.seed, "layers"))
        self.found: dict[str, Evaluation] = {}
        """What the fleet found at the evaluation that is due."""
        self.saved_after_s = self.progress.seconds

    # ---------------------------------------------------------------------------------- its place in the stack

    def sit(self, stack: Stack, place: int) -> None:
        """Move the network into the stack."""
        self.stack, self.place = stack, place
        stack.load(place, self.model.state_dict(), self.optimizer.values)

    def fetch(self) -> None:
        """Copy the network and its velocities out of the stack."""
        self.stack.fetch(self.place, self.model)
        if self.config.optimizer.momentum:
            self.optimizer.values = self.stack.velocities_at(self.place)

    # ------------------------------------------------------------------------------------------ its schedule

    @property
    def ended(self) -> bool:
        return self.progress.diverged or self.progress.step >= self.stops[-1]

    def next_stop(self) -> int:
        """The next step at which it is looked at."""
        return next(stop for stop in self.stops if stop > self.progress.step)

    def rate(self, ahead: int) -> float:
        """The learning rate of the update that is ``ahead`` updates from now."""
        return learning_rate(self.config.optimizer, self.progress.step + ahead, self.config.steps)

    @property
    def probed(self) -> bool:
        """Whether a probe is due."""
        return any(self.progress.step in probe.steps for probe in self.probes)

    def evaluate(self, step: int) -> dict[str, float]:
        values = self.mean_loss()
        for name in self.splits_at(step):
            values |= named(name, self.found[name])
        return values

    def look(self, step: int) -> None:
        if not self.probed:
            super().look(step)
            return
        self.fetch()
        # A probe that rehearses the next step uses the random numbers which that step will draw.
        on = [self.model_device] if self.config.device == "cuda" else []
        with torch.random.fork_rng(devices=on):
            self._set_global_states()
            super().look(step)

    @property
    def model_device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _set_global_states(self) -> None:
        state = self.generator.get_state()
        if self.config.device == "cuda":
            torch.cuda.set_rng_state(state)
        else:
            torch.set_rng_state(state)

    # --------------------------------------------------------------------------------------- for checkpoints

    def random_states(self) -> list[list[Tensor]]:
        return [[self.generator.get_state()]]

    def set_random_states(self, states: list[list[Tensor]]) -> None:
        self.generator.set_state(states[0][0])
