"""One run from its configuration to its finished folder: identity, skip or resume, train, write."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from omegaconf import OmegaConf

from bnrepro import data, store
from bnrepro.config.identity import arm_label, run_key, scientific
from bnrepro.config.schema import Config
from bnrepro.door import stop_if_asked
from bnrepro.errors import ConfigError, StoreError
from bnrepro.models import enough_memory
from bnrepro.runs import lifecycle, provenance
from bnrepro.store import Files, RunFolder, RunRecord
from bnrepro.store.folders import CheckpointDamaged
from bnrepro.training import checkpoint, distributed, tracking
from bnrepro.training.loop import Trainer
from bnrepro.training.state import METRICS_HEADER, Callbacks
from bnrepro.training.trial import own_code

log = logging.getLogger(__name__)
WEIGHTS = "weights.pt"
SINGLE = "single"
"""The experiment of runs that belong to none."""


@dataclass(frozen=True)
class Planned:
    """A run with its identity, trained or not. ``detail`` names what its sweep varies."""

    config: Config
    key: str
    folder: RunFolder
    detail: str = ""

    @property
    def label(self) -> str:
        """The name that tells people this run from the others: its arm, and what its sweep varies."""
        return labelled(self.config, self.detail)


@dataclass(frozen=True)
class Report:
    """The progress of a training run: losses and accuracies by ``split/metric``, and its speed."""

    name: str
    step: int
    steps: int
    values: dict[str, float]
    steps_per_second: float


def labelled(config: Config, detail: str) -> str:
    """An arm with what its sweep varies: ``batch-lr0.1``."""
    return f"{arm_label(config)}-{detail}" if detail else arm_label(config)


def plan(config: Config, detail: str = "") -> Planned:
    """The identity of a run. It loads the data, whose fingerprint is part of the identity.

    Only runs without an experiment have ``detail`` in the name of their folder: the tables of ``configs/experiment``
    name runs by arm, seed and key.
    """
    key = run_key(config, data.open_dataset(config.data).fingerprint)
    label = labelled(config, detail) if config.experiment == SINGLE else arm_label(config)
    return Planned(config, key, store.run_folder(config.experiment, label, config.seed, key), detail)


def execute(planned: Planned, watch: Callable[[Report], None] = lambda report: None) -> str:
    """Train a run to its end: returns ``skipped`` if it is done already, else ``finished`` or ``diverged``.

    Continues from the last checkpoint, if there is one. Two processes never train one run: the second waits, then
    skips. Raises :class:`~bnrepro.errors.UserError` for errors that the user can fix; finished runs stay as they are.
    """
    config = planned.config
    require_device(config)
    with distributed.join(config.processes, config.device) as group:
        if lifecycle.skipped(planned.folder, group):
            return lifecycle.SKIPPED
        with enough_memory(config), data.explained(config.data.workers):
            # The trainer refuses a network that cannot be built before a folder is made.
            run = _Run(planned, Trainer(config, data.open_dataset(config.data), group=group), watch)
            try:
                with own_code(config):
                    return lifecycle.complete(planned.folder, run.train, group)
            finally:
                run.tracker.finish()


def require_device(config: Config) -> None:
    """Raise :class:`ConfigError` if the device of the run is not available."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device=cuda: no CUDA device is available; use device=cpu")


class _Run:
    """The training of a run in one process, and what the leader writes of it."""

    def __init__(self, planned: Planned, trainer: Trainer, watch: Callable[[Report], None]) -> None:
        self.planned, self.trainer, self.watch = planned, trainer, watch
        self.tracker = tracking.Tracker()

    def train(self) -> tuple[RunRecord, Files]:
        self._resume()
        trainer = self.trainer
        if trainer.group.leads:
            self._follow()
        trainer.run()
        self.tracker.ended(trainer.progress.status, trainer.progress.last_step)
        return self._record(), self._files() if trainer.group.leads else {}

    def _follow(self) -> None:
        """Report the progress and keep checkpoints."""
        planned, trainer = self.planned, self.trainer
        first_step, began = trainer.progress.step, time.perf_counter()
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
        payload = trainer.group.share(lambda: _checkpoint(folder))
        if payload is None:
            return
        try:
            checkpoint.restore(trainer, payload)
        except StoreError as error:
            if trainer.group.leads:
                aside = folder.set_checkpoint_aside()
                log.warning("%s: %s; it is now %s, and this run starts over", folder.name, error, aside.name)
            # A fresh trainer, since a part of the checkpoint may have been restored.
            self.trainer = Trainer(trainer.config, data.open_dataset(trainer.config.data), group=trainer.group)
            return
        if trainer.group.leads:
            log.info("%s: continues at step %d", folder.name, trainer.progress.step)

    def _record(self) -> RunRecord:
        planned, config, progress = self.planned, self.planned.config, self.trainer.progress
        return RunRecord(
            run=planned.folder.name,
            key=planned.key,
            experiment=config.experiment,
            arm=arm_label(config),
            seed=config.seed,
            status=progress.status,
            last_step=progress.last_step,
            data=self.trainer.data_label,
            fingerprint=self.trainer.identity["data"],
            config=scientific(config),
            versions=provenance.versions(),
            machine=provenance.machine(config.device),
            seconds=round(progress.seconds, 3),
            finished=round(time.time(), 3),
            unreadable=tuple(progress.unreadable),
        )

    def _files(self) -> Files:
        """The tables, the configuration, and the weights if ``keep_weights``."""
        config, progress = self.planned.config, self.trainer.progress
        if progress.unreadable:
            log.warning("%s: skipped %d unreadable images", self.planned.folder.name, len(progress.unreadable))
        headers = {"metrics": METRICS_HEADER}
        for probe in self.trainer.probes:
            headers |= probe.headers
        files: dict[str, str | bytes] = {
            f"{name}.csv": "\n".join([headers[name], *lines, ""]) for name, lines in progress.tables.items()
        }
        if config.keep_weights and progress.status == "finished":
            buffer = io.BytesIO()
            torch.save(self.trainer.model.state_dict(), buffer)
            files[WEIGHTS] = buffer.getvalue()
        files["config.yaml"] = OmegaConf.to_yaml(OmegaConf.structured(config))
        return files


def _checkpoint(folder: RunFolder) -> bytes | None:
    """The last checkpoint. One that is damaged is discarded, with a warning: only an unfinished run is lost."""
    try:
        return folder.read_checkpoint()
    except CheckpointDamaged as error:
        log.warning("%s: %s; this run starts over", folder.name, error)
        folder.checkpoint.unlink(missing_ok=True)
        return None
