"""Runs of one shape that train together, each from its configuration to a finished folder of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain

from bnrepro import data
from bnrepro.door import stop_if_asked
from bnrepro.errors import UserError
from bnrepro.models import enough_memory
from bnrepro.runs import contents, lifecycle
from bnrepro.runs.engines import places
from bnrepro.runs.planned import Planned, Report, require_device
from bnrepro.store.locks import Lock
from bnrepro.training.fleet import Block, Seat, needed
from bnrepro.training.state import Callbacks, Placed
from bnrepro.training.trial import own_code

Watch = Callable[[Report], None]
Told = Callable[[str, str | UserError], None]
"""Hears the name of a run and how it ended, as soon as it has: ``skipped``, ``finished``, ``diverged``, or an error."""


def execute(items: Sequence[Planned], watch: Watch, told: Told) -> None:
    """Train runs of one shape to their ends, in a block as wide as their engine says.

    A run that another process is training waits until all others have ended. What the disk refuses ends one run, and
    the others go on. Raises :class:`~bnrepro.errors.UserError` for what ends all that are left: these may be told apart
    from the others by what ``told`` has not heard of.
    """
    config = items[0].config
    require_device(config)
    with enough_memory(config), data.explained(config.data.workers), own_code(config), ExitStack() as held:
        fleet = _Together(watch, told, held)
        block, left, again = None, list(items), False
        while left:
            if again:
                # Nothing is locked here: a fleet that waited with locks in its hands could wait for one that does too.
                fleet.lock(left[0]).wait()
            seats = fleet.seats(left)
            if (first := next(seats, None)) is not None:
                block = block or Block(first, needed(first, places(config.engine), len(left)))
                block.train(chain([first], seats), fleet.finish)
            left, again = fleet.busy, True


class _Together:
    def __init__(self, watch: Watch, told: Told, held: ExitStack) -> None:
        self.watch, self.told, self.held = watch, told, held
        self.locks: dict[str, Lock] = {}
        self.sitting: dict[int, Planned] = {}
        self.busy: list[Planned] = []
        """The runs that other processes were training."""
        self.placed: Placed | None = None

    def lock(self, planned: Planned) -> Lock:
        name = planned.folder.name
        if name not in self.locks:
            self.locks[name] = self.held.enter_context(planned.folder.lock())
        return self.locks[name]

    def seats(self, items: Sequence[Planned]) -> Iterator[Seat]:
        """Those of ``items`` that nobody else trains, each locked as it is asked for; the others are then ``busy``."""
        self.busy = []
        for planned in items:
            try:
                if not lifecycle.skipped(planned.folder) and not self.lock(planned).take():
                    self.busy.append(planned)
                elif (seat := self._seat(planned)) is not None:
                    yield seat
            except UserError as error:
                self._release(planned, error)

    def _seat(self, planned: Planned) -> Seat | None:
        """The run where it was left; None if it is done."""
        folder = planned.folder
        if lifecycle.skipped(folder):
            self._release(planned, lifecycle.SKIPPED)
            return None
        folder.remove_unfinished_parts()
        seat = self._made(planned)
        payload = contents.checkpoint_of(folder)
        if payload is not None and not contents.resumed(seat, folder, payload):
            # A fresh one, since a part of the checkpoint may have been restored.
            seat = self._made(planned)
        self.sitting[id(seat)] = planned
        self._follow(seat, planned)
        return seat

    def _follow(self, seat: Seat, planned: Planned) -> None:
        first_step, began = seat.progress.step, time.perf_counter()

        def evaluated(step: int, values: dict[str, float]) -> None:
            stop_if_asked()
            speed = (step - first_step) / max(time.perf_counter() - began, 1e-9)
            self.watch(Report(planned.folder.name, step, planned.config.steps, values, speed))

        seat.callbacks = Callbacks(on_evaluation=evaluated, on_checkpoint=planned.folder.write_checkpoint)

    def _made(self, planned: Planned) -> Seat:
        if self.placed is None:
            self.placed = Placed.of(planned.config, data.open_dataset(planned.config.data))
        return Seat(planned.config, self.placed)

    def finish(self, seat: Seat) -> None:
        """Write the folder of a run that has ended, and release it."""
        planned = self.sitting.pop(id(seat))
        try:
            planned.folder.finish(contents.record(planned, seat), contents.files(planned, seat))
        except UserError as error:
            self._release(planned, error)
        else:
            self._release(planned, seat.progress.status)

    def _release(self, planned: Planned, how: str | UserError) -> None:
        self.lock(planned).release()
        self.told(planned.folder.name, how)
