"""Many runs on all cores: one engine for every sweep, behind `make reproduce` and Hydra's ``-m``.

It skips finished runs, lets runs of one shape train together where that is faster, takes experiments in the order in
which they are given and starts with the longest runs of each; every core runs one single-threaded process.
"""

from __future__ import annotations

import csv
import io
import logging
import math
import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bnrepro import data
from bnrepro.config.schema import Config
from bnrepro.data import ExampleOrder
from bnrepro.door import stop_if_asked
from bnrepro.errors import ConfigError, Interrupted, OutOfMemory, UserError
from bnrepro.models import build_model
from bnrepro.runs import engines, lifecycle, run, together
from bnrepro.runs.course import Chore, Course
from bnrepro.runs.display import Display, cost
from bnrepro.runs.planned import Planned, Report, require_device
from bnrepro.store.workers import Emit, WorkerDied, side_by_side
from bnrepro.training import tracking
from bnrepro.training.fleet import shape
from bnrepro.training.loop import Trainer
from bnrepro.training.replay import Views
from bnrepro.training.trial import try_out

log = logging.getLogger(__name__)
REPORT_EVERY_S = 0.5
ROUNDS = 4
"""Runs of a task per place of its block: many keep the places filled, few let the cores end together."""
ON_CUDA = 2
"""Processes on a card: one prepares while the other computes."""


@dataclass
class Outcome:
    """How the runs ended: counts by status, and the message of each run that could not be trained."""

    counts: dict[str, int] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def require_all(self) -> None:
        """Raise :class:`UserError` if any run failed."""
        if self.errors:
            name, message = next(iter(self.errors.items()))
            raise UserError(f"{len(self.errors)} failed. The first, {name}: {message}")


def plan(sweep: Sequence[tuple[Config, str]]) -> list[Planned]:
    """The runs of a sweep, each with its detail.

    Raises :class:`UserError`, before anything starts, if the data, the device or the mini-batches of a run do not work.
    """
    planned = [run.plan(config, detail, together=True) for config, detail in sweep]
    for item in planned:
        config, dataset = item.config, data.open_dataset(item.config.data)
        require_device(config)
        ExampleOrder(config, len(dataset.train))
        if config.batch_size == 1 == config.processes:
            Trainer(config, dataset)
    return planned


def train_all(
    planned: Sequence[Planned], jobs: int | None = None, console: Console | None = None, course: Course | None = None
) -> Outcome:
    """Train every run to its end; finished runs are skipped without starting a process.

    ``course`` hears of every run that ends, adds runs while the first ones train, and gives the workers other work.
    Raises :class:`ConfigError`, before a run starts, if its network cannot be built, and :class:`Interrupted` on Ctrl-C
    (in a script also on SIGTERM), or if a worker died: finished runs and checkpoints stay.
    """
    sweep = _Sweep(course or Course(), console or Console())
    pending = sweep.add(planned)
    while not pending and not sweep.complete:
        pending = sweep.more(wait=True)
    chores = sweep.course.ready()
    if not pending and not chores:
        return sweep.outcome
    workers = jobs or _workers(pending)
    try:
        with sweep.display, Views() as views:
            stop_if_asked()
            left = sweep.follow(deque([*chores, *tasks(pending, workers)]), workers, views)
            while left:
                workers //= 2
                log.warning("out of memory with several processes; %d runs go on in %d", len(left), workers)
                left = sweep.follow(deque(tasks(left, workers)), workers, views)
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped with {sweep.display.done} of {sweep.display.total} runs done; the same call goes on from here"
        ) from None
    except WorkerDied as error:
        raise Interrupted(
            f"a training process was killed ({sweep.display.done} of {sweep.display.total} runs done): out of memory? "
            "The same call goes on from here."
        ) from error
    return sweep.outcome


def _refuse_networks(planned: Sequence[Planned]) -> None:
    """Build each network once, whatever its initial weights. Raises :class:`ConfigError`."""
    seen = set()
    for config, dataset in ((item.config, data.open_dataset(item.config.data)) for item in planned):
        kind = replace(config.model, init_scale=1.0), config.norm, config.placement, config.precision, config.batch_size
        if (key := repr((kind, dataset.train.example_shape, dataset.classes))) not in seen:
            seen.add(key)
            try_out(config, dataset.train.example_shape, dataset.classes)
            build_model(config, dataset.train.example_shape, dataset.classes)


def _workers(pending: Sequence[Planned]) -> int:
    """Processes: one per core, or those that feed a card."""
    if any(item.config.device == "cuda" for item in pending):
        return ON_CUDA
    return max(1, (os.cpu_count() or 1) // max((item.config.threads for item in pending), default=1))


def tasks(pending: Sequence[Planned], workers: int) -> list[list[Planned]]:
    """What a worker trains at a time: a run, or runs of one shape that train together.

    Experiments stay in the order of ``pending``, the longest of each first, so that no core waits for one long run at
    its end. A task of many runs keeps the places of its block filled; there are as many as the ``workers`` need.
    """
    places: dict[str, int] = {}
    for item in pending:
        places.setdefault(item.config.experiment, len(places))
    ordered = sorted(pending, key=lambda item: (places[item.config.experiment], -cost(item), item.folder.name))
    found = [[item] for item in ordered if item.config.engine == engines.ALONE]
    shapes: dict[tuple[str, str], list[Planned]] = {}
    for item in ordered:
        if item.config.engine != engines.ALONE:
            shapes.setdefault((item.config.engine, shape(item.config)), []).append(item)
    for (engine, _), items in shapes.items():
        width = engines.places(engine)
        rounds = math.ceil(len(items) / width)
        size = width * math.ceil(rounds / max(min(workers, rounds), math.ceil(rounds / ROUNDS)))
        found += [items[start : start + size] for start in range(0, len(items), size)]
    return sorted(found, key=lambda items: (places[items[0].config.experiment], -sum(map(cost, items))))


class _Sweep:
    """Runs that are trained, with what is known of them."""

    def __init__(self, course: Course, console: Console) -> None:
        self.course, self.outcome = course, Outcome()
        self.display = Display(console, [], done=0)
        self.known: dict[str, Planned] = {}
        self.complete = False
        """Whether the course has no further runs."""
        self.outcome.counts[lifecycle.SKIPPED] = 0

    def more(self, wait: bool = False) -> list[Planned]:
        """The further runs of the course that are to be trained."""
        if self.complete:
            return []
        added = self.course.more(wait)
        self.complete = added is None
        pending = self.add(added or ())
        if self.complete:
            self.display.completes()
        return pending

    def add(self, planned: Sequence[Planned]) -> list[Planned]:
        """Count further runs. Returns those to be trained, whose networks can be built."""
        unique = {item.folder.path: item for item in planned}
        pending = [item for item in unique.values() if not lifecycle.skipped(item.folder)]
        self.outcome.counts[lifecycle.SKIPPED] += len(unique) - len(pending)
        _refuse_networks(pending)
        if any(item.config.processes > 1 for item in pending):
            raise ConfigError("processes: a sweep trains every run in one process; only a single run can use torchrun")
        self.known |= {item.folder.name: item for item in pending}
        self.display.add(pending, done=len(unique) - len(pending))
        self.display.seconds_after = self.course.seconds_after()
        return pending

    def follow(self, queue: deque[list[Planned] | Chore], workers: int, views: Views) -> list[Planned]:
        """Do what is in the ``queue``. Returns the runs that did not fit into the memory beside the others."""
        short: list[Planned] = []
        for event in side_by_side(_work, queue, workers, lambda: not self.complete):
            stop_if_asked()
            if event.kind == "error":
                raise event.value
            # The workers have something to do by now; what takes long to plan is planned meanwhile.
            queue.extend(tasks(self.more(), workers))
            if event.kind == "message":
                self._hear(event.value, short, workers, views)
            queue.extendleft(reversed(self.course.ready()))
        return short

    def _hear(self, message: Any, short: list[Planned], workers: int, views: Views) -> None:
        if isinstance(message, Report):
            self.display.report(message)
            return
        if isinstance(message, Chore):
            self.display.starts(message)
            return
        named, status = message
        if isinstance(named, Chore):
            if isinstance(status, UserError):
                self.outcome.errors[named.name] = str(status)
            self.display.made(named)
            self.course.made(named, status)
            return
        item = self.known[named]
        if isinstance(status, OutOfMemory) and workers > 1 and len(self.known) > 1:
            short.append(item)
            return
        if isinstance(status, UserError):
            status, self.outcome.errors[named] = "failed", str(status)
        elif status != lifecycle.SKIPPED and not _live(item):
            views.show(item)
        self.outcome.counts[status] = self.outcome.counts.get(status, 0) + 1
        self.display.ended(item, status)
        self.course.ended(item)


def _live(item: Planned) -> bool:
    """Whether a run of a sweep is shown while it trains: somebody may be watching."""
    return item.config.engine == engines.ALONE and tracking.mode_of(item.config.wandb) == "online"


def _work(task: list[Planned] | Chore, emit: Emit) -> None:
    """Do a task in a worker."""
    if isinstance(task, list):
        _train(task, emit)
        return
    emit(task)
    try:
        emit((task, task.call()))
    except UserError as error:
        emit((task, error))


def _train(items: list[Planned], emit: Emit) -> None:
    """Train a task in a worker. Sends reports, and for every run its name and how it ended."""
    last: dict[str, float] = {}
    waiting = {item.folder.name for item in items}

    def watch(report: Report) -> None:
        if time.monotonic() - last.get(report.name, -math.inf) > REPORT_EVERY_S:
            last[report.name] = time.monotonic()
            emit(report)

    def told(name: str, how: str | UserError) -> None:
        waiting.discard(name)
        emit((name, how))

    try:
        if items[0].config.engine == engines.ALONE:
            told(items[0].folder.name, run.execute(items[0], watch, live=_live(items[0])))
        else:
            together.execute(items, watch, told)
    except UserError as error:
        for name in sorted(waiting):
            told(name, error)


# ------------------------------------------------------------------------------------------------- at the end

SHOWN = {"train/loss": "train loss", "validation/accuracy": "val. acc.", "test/accuracy": "test acc."}


def summary(planned: Sequence[Planned], outcome: Outcome) -> Table:
    """A table with a row for each run of the sweep: label, seed, status, last values, key."""
    table = Table(title="last evaluation of every run", title_justify="left", box=SIMPLE)
    table.add_column("run", no_wrap=True)
    for column in ("seed", "status", "steps", *SHOWN.values(), "key"):
        table.add_column(column, justify="left" if column in ("status", "key") else "right")
    for item in planned:
        name, key, seed = item.folder.name, item.key[:8], str(item.config.seed)
        if name in outcome.errors or not item.folder.is_done():
            table.add_row(item.label, seed, "failed", "", *([""] * len(SHOWN)), key)
            continue
        record, files = item.folder.read()
        last: dict[str, str] = {}
        for row in csv.DictReader(io.StringIO(files["metrics.csv"].decode())):
            last[f"{row['split']}/{row['metric']}"] = row["value"]
        values = [f"{float(last[metric]):.4f}" if metric in last else "–" for metric in SHOWN]
        table.add_row(item.label, seed, record.status, f"{record.last_step:,}", *values, key)
    return table
