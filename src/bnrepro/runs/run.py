"""One run from its configuration to its finished folder: skip or resume, train, write."""

from __future__ import annotations

import time
from collections.abc import Callable

from bnrepro import data
from bnrepro.door import stop_if_asked
from bnrepro.errors import UserError
from bnrepro.models import enough_memory
from bnrepro.runs import contents, lifecycle, together
from bnrepro.runs.engines import ALONE
from bnrepro.runs.planned import Planned, Report, plan, require_device
from bnrepro.store import Files, RunRecord
from bnrepro.training import distributed, tracking
from bnrepro.training.loop import Trainer
from bnrepro.training.replay import Views
from bnrepro.training.state import Callbacks
from bnrepro.training.trial import own_code

__all__ = ["Planned", "Report", "execute", "plan"]


def execute(planned: Planned, watch: Callable[[Report], None] = lambda report: None, live: bool = True) -> str:
    """Train a run to its end: returns ``skipped`` if it is done already, else ``finished`` or ``diverged``.

    Continues from the last checkpoint, if there is one. Two processes never train one run: the second waits, then
    skips. ``live`` shows the run on W&B while it trains. Raises :class:`~bnrepro.errors.UserError` for errors that the
    user can fix; finished runs stay as they are.
    """
    config = planned.config
    require_device(config)
    if config.engine != ALONE:
        return _in_a_block(planned, watch, live)
    with distributed.join(config.processes, config.device) as group:
        if lifecycle.skipped(planned.folder, group):
            return lifecycle.SKIPPED
        with enough_memory(config), data.explained(config.data.workers):
            # The trainer refuses a network that cannot be built before a folder is made.
            run = _Run(planned, Trainer(config, data.open_dataset(config.data), group=group), watch, live)
            try:
                with own_code(config):
                    return lifecycle.complete(planned.folder, run.train, group)
            finally:
                run.tracker.finish()


def _in_a_block(planned: Planned, watch: Callable[[Report], None], live: bool) -> str:
    ended: list[str | UserError] = []
    together.execute([planned], watch, lambda name, how: ended.append(how))
    [how] = ended
    if isinstance(how, UserError):
        raise how
    if live and how != lifecycle.SKIPPED:
        with Views() as views:
            views.show(planned)
    return how


class _Run:
    """The training of a run in one process, and what the leader writes of it."""

    def __init__(self, planned: Planned, trainer: Trainer, watch: Callable[[Report], None], live: bool) -> None:
        self.planned, self.trainer, self.watch, self.live = planned, trainer, watch, live
        self.tracker = tracking.Tracker()

    def train(self) -> tuple[RunRecord, Files]:
        self._resume()
        trainer = self.trainer
        if trainer.group.leads:
            self._follow()
        trainer.run()
        self.tracker.ended(trainer.progress.status, trainer.progress.last_step)
        files = contents.files(self.planned, trainer) if trainer.group.leads else {}
        return contents.record(self.planned, trainer), files

    def _follow(self) -> None:
        """Report the progress and keep checkpoints."""
        planned, trainer = self.planned, self.trainer
        first_step, began = trainer.progress.step, time.perf_counter()
        if self.live:
            self.tracker.start(planned.config, planned.key, planned.label, continues=first_step > 0)

        def evaluated(step: int, values: dict[str, float]) -> None:
            stop_if_asked()
            self.tracker.evaluation(step, values)
            speed = (step - first_step) / max(time.perf_counter() - began, 1e-9)
            self.watch(Report(planned.folder.name, step, planned.config.steps, values, speed))

        trainer.callbacks = Callbacks(evaluated, self.tracker.observation, planned.folder.write_checkpoint)

    def _resume(self) -> None:
        """Continue from the last checkpoint, if there is one."""
        trainer, folder = self.trainer, self.planned.folder
        payload = trainer.group.share(lambda: contents.checkpoint_of(folder))
        if payload is not None and not contents.resumed(trainer, folder, payload, trainer.group.leads):
            # A fresh trainer, since a part of the checkpoint may have been restored.
            self.trainer = Trainer(trainer.config, data.open_dataset(trainer.config.data), group=trainer.group)
