"""Many runs on all cores: one engine for every sweep, behind `make reproduce` and Hydra's ``-m``.

It skips finished runs and starts with the longest; every core runs one single-threaded process.
"""

from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bnrepro import data
from bnrepro.config.schema import Config
from bnrepro.data import ExampleOrder
from bnrepro.door import stop_if_asked
from bnrepro.errors import ConfigError, Interrupted, UserError
from bnrepro.models import build_model
from bnrepro.runs import lifecycle, run
from bnrepro.runs.display import Display, cost
from bnrepro.runs.run import Planned, Report
from bnrepro.store.workers import Emit, WorkerDied, side_by_side
from bnrepro.training.loop import Trainer
from bnrepro.training.trial import try_out

REPORT_EVERY_S = 0.5


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
    planned = [run.plan(config, detail) for config, detail in sweep]
    for item in planned:
        config, dataset = item.config, data.open_dataset(item.config.data)
        run.require_device(config)
        ExampleOrder(config, len(dataset.train))
        if config.batch_size == 1 == config.processes:
            Trainer(config, dataset)
    return planned


def train_all(planned: Sequence[Planned], jobs: int | None = None, console: Console | None = None) -> Outcome:
    """Train every run to its end; finished runs are skipped without starting a process.

    Raises :class:`ConfigError`, before anything starts, if the network of a run cannot be built, and
    :class:`Interrupted` on Ctrl-C (in a script also on SIGTERM), or if a worker died: finished runs and checkpoints
    stay.
    """
    outcome = Outcome()
    unique = {item.folder.path: item for item in planned}
    pending = [item for item in unique.values() if not lifecycle.skipped(item.folder)]
    outcome.counts[lifecycle.SKIPPED] = len(unique) - len(pending)
    if not pending:
        return outcome
    _refuse_networks(pending)
    # The longest first, so that no core waits for one long run at the end of the sweep.
    pending.sort(key=lambda item: (-cost(item), item.folder.name))
    if any(item.config.processes > 1 for item in pending):
        raise ConfigError("processes: a sweep trains every run in one process; only a single run can use torchrun")
    threads = max(item.config.threads for item in pending)
    workers = jobs or max(1, (os.cpu_count() or 1) // threads)
    display = Display(console or Console(), pending, done=len(unique) - len(pending))
    try:
        with display:
            stop_if_asked()
            _follow(pending, workers, display, outcome)
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped with {display.done} of {display.total} runs done; the same call goes on from here"
        ) from None
    except WorkerDied as error:
        raise Interrupted(
            f"a training process was killed ({display.done} of {display.total} runs done): out of memory? "
            "The same call goes on from here."
        ) from error
    return outcome


def _refuse_networks(planned: Sequence[Planned]) -> None:
    """Build each network once, whatever its initial weights. Raises :class:`ConfigError`."""
    seen = set()
    for config, dataset in ((item.config, data.open_dataset(item.config.data)) for item in planned):
        kind = replace(config.model, init_scale=1.0), config.norm, config.placement, config.precision, config.batch_size
        if (key := repr((kind, dataset.train.example_shape, dataset.classes))) not in seen:
            seen.add(key)
            try_out(config, dataset.train.example_shape, dataset.classes)
            build_model(config, dataset.train.example_shape, dataset.classes)


def _follow(pending: Sequence[Planned], workers: int, display: Display, outcome: Outcome) -> None:
    for event in side_by_side(_train, pending, workers):
        stop_if_asked()
        if event.kind == "message":
            display.report(event.value)
        elif event.kind in ("result", "error"):
            item, status = pending[event.task], event.value
            if event.kind == "error":
                if not isinstance(event.value, UserError):
                    raise event.value
                status, outcome.errors[item.folder.name] = "failed", str(event.value)
            outcome.counts[status] = outcome.counts.get(status, 0) + 1
            display.ended(item, status)


def _train(planned: Planned, emit: Emit) -> str:
    """Train one run in a worker."""
    last = 0.0

    def watch(report: Report) -> None:
        nonlocal last
        if time.monotonic() - last > REPORT_EVERY_S:
            last = time.monotonic()
            emit(report)

    return run.execute(planned, watch)


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
