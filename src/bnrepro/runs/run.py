"""One run from its configuration to its finished folder: identity, lock, skip or resume, train, write."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import logging
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import torch
from omegaconf import OmegaConf

from bnrepro import data, store
from bnrepro.config.identity import arm_label, run_key, scientific
from bnrepro.config.schema import Config
from bnrepro.errors import ConfigError, StoreError
from bnrepro.training import checkpoint, distributed, tracking
from bnrepro.training.loop import METRICS_HEADER, Callbacks, Trainer

log = logging.getLogger(__name__)
WEIGHTS = "weights.pt"
WAIT_S = 0.5
"""Between two looks at a run that another process holds."""


@dataclass(frozen=True)
class Planned:
    """A run with its identity, before or after it is trained."""

    config: Config
    key: str
    folder: store.Run


@dataclass(frozen=True)
class Report:
    """What a running training tells those who watch: losses and accuracies by ``split/metric``, and its speed."""

    name: str
    step: int
    steps: int
    values: dict[str, float]
    steps_per_second: float


def plan(config: Config) -> Planned:
    """The identity of a run. Loads its data, whose fingerprint is part of it."""
    key = run_key(config, data.open_dataset(config.data).fingerprint)
    return Planned(config, key, store.run(config.experiment, arm_label(config), config.seed, key))


def execute(planned: Planned, watch: Callable[[Report], None] = lambda report: None) -> str:
    """Bring a run to its end: ``skipped`` if it is already there, else ``finished`` or ``diverged``.

    Continues from the last checkpoint, if there is one. Two processes never train one run: the second waits, then
    skips. Raises :class:`~bnrepro.errors.UserError` for what the user can mend; nothing finished is touched.
    """
    config, folder = planned.config, planned.folder
    require_device(config)
    with distributed.join(config.processes, config.device) as group:
        if group.share(folder.is_done):
            return "skipped"
        dataset = data.open_dataset(config.data)
        trainer = Trainer(config, dataset, group=group)  # refuses what cannot be built before a folder is made
        with _alone_in(folder, group):
            if group.share(folder.is_done):
                return "skipped"
            trainer = _resume(trainer, folder, dataset)
            return _lead(planned, trainer, dataset, watch) if group.leads else trainer.run().status


def require_device(config: Config) -> None:
    """Raise :class:`ConfigError` if the run's device is not here."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device=cuda: no CUDA device is available here; use device=cpu")


@contextlib.contextmanager
def _alone_in(folder: store.Run, group: distributed.Group) -> Iterator[None]:
    """No other call trains the run meanwhile.

    The leader holds it, and asks for it again and again where another does: the others, which wait for its answer,
    would give up if it were long.
    """
    with contextlib.ExitStack() as stack:
        files: list[IO[str]] = []

        def held() -> bool:
            if not files:
                files.append(stack.enter_context(folder.lock_file()))
            return store.try_lock(files[0])

        told = False
        while not group.share(held):
            if group.leads and not told:
                log.info("waiting: another process is training %s", folder.name)
            told = True
            time.sleep(WAIT_S)
        if group.leads:
            store.remove_unfinished_parts(folder)
        yield


def _lead(planned: Planned, trainer: Trainer, dataset: data.AnyDataset, watch: Callable[[Report], None]) -> str:
    """The training of the process that writes."""
    config, folder = planned.config, planned.folder
    tracker = tracking.Tracker(config, planned.key, continues=trainer.progress.step > 0)
    first_step, began = trainer.progress.step, time.perf_counter()

    def evaluated(step: int, values: dict[str, float]) -> None:
        tracker.evaluation(step, values)
        speed = (step - first_step) / max(time.perf_counter() - began, 1e-9)
        watch(Report(folder.name, step, config.steps, values, speed))

    trainer.callbacks = Callbacks(evaluated, tracker.observation, folder.write_checkpoint)
    progress = trainer.run()
    tracker.finish(progress.status, progress.last_step)
    folder.finish(_files(planned, trainer, dataset))
    return progress.status


def _resume(trainer: Trainer, folder: store.Run, dataset: data.AnyDataset) -> Trainer:
    """``trainer`` where the run's last checkpoint left it, or that of the run it continues, or at its beginning."""
    payload = trainer.group.share(lambda: _checkpoint(folder))
    if payload is not None:
        try:
            trainer.restore(payload)
        except StoreError as error:
            # It may have been restored in part: with a fresh trainer.
            _start_over(folder, error)
            trainer, payload = Trainer(trainer.config, dataset, group=trainer.group), None
    if payload is None and trainer.config.continue_from is not None:
        config = trainer.config
        payload = trainer.group.share(lambda: checkpoint.checkpoint_of(config, dataset.fingerprint))
        checkpoint.take_up(trainer, payload)
    if payload is not None and trainer.group.leads:
        log.info("%s: continues at step %d", folder.name, trainer.progress.step)
    return trainer


def _checkpoint(folder: store.Run) -> bytes | None:
    try:
        return folder.read_checkpoint()
    except StoreError as error:
        _start_over(folder, error)
        return None


def _start_over(folder: store.Run, error: StoreError) -> None:
    """An unfinished run alone is lost, and says so."""
    log.warning("%s: %s; this run starts over", folder.name, error)
    folder.checkpoint.unlink(missing_ok=True)


def _files(planned: Planned, trainer: Trainer, dataset: data.AnyDataset) -> dict[str, str | bytes]:
    config, progress = planned.config, trainer.progress
    headers = {"metrics": METRICS_HEADER}
    for probe in trainer.probes:
        headers |= probe.headers
    files: dict[str, str | bytes] = {
        f"{name}.csv": "\n".join([headers[name], *lines, ""]) for name, lines in progress.tables.items()
    }
    meta = {
        "run": planned.folder.name,
        "key": planned.key,
        "experiment": config.experiment,
        "arm": arm_label(config),
        "seed": config.seed,
        "status": progress.status,
        "last_step": progress.last_step,
        "data": dataset.label,
        "fingerprint": dataset.fingerprint,
        "config": scientific(config),
        "versions": versions(),
        "machine": machine(config.device),
        "seconds": round(progress.seconds, 3),
        "finished": round(time.time(), 3),
    }
    if progress.unreadable:
        meta["unreadable"] = progress.unreadable
        log.warning("%s: passed over %d unreadable images", planned.folder.name, len(progress.unreadable))
    if config.keep_weights and progress.status == "finished":
        buffer = io.BytesIO()
        torch.save(trainer.model.state_dict(), buffer)
        files[WEIGHTS] = buffer.getvalue()
    files["config.yaml"] = OmegaConf.to_yaml(OmegaConf.structured(config))
    files["meta.json"] = json.dumps(meta, indent=1)
    return files


@functools.cache
def versions() -> dict[str, str]:
    """What the numbers of a run depend on besides its configuration."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "commit": _commit(),
    }


def machine(device: str) -> dict[str, Any]:
    """The hardware a run was timed on."""
    name = torch.cuda.get_device_name() if device == "cuda" else _cpu_model()
    return {"hardware": name, "cores": os.cpu_count()}


@functools.cache
def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _commit() -> str:
    """The commit of the code, marked where code or configuration differ from it; generated files do not count."""
    git = ["git", "-C", str(store.REPOSITORY)]
    try:
        found = subprocess.run([*git, "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, timeout=10)
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--", "src", "configs", "scripts"], capture_output=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    if found.returncode or changed.returncode:
        return "unknown"
    return found.stdout.strip() + ("-dirty" if changed.stdout else "")
