"""Many runs on all cores: longest first, one single-threaded process per core, with a display of what is going on."""

from __future__ import annotations

import logging
import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from bnrepro.errors import ConfigError, Interrupted, UserError
from bnrepro.runs import run
from bnrepro.runs.run import Planned, Report

SHOW_EVERY_S = 0.5
PLAIN_EVERY_S = 15.0


@dataclass
class Outcome:
    """How the runs ended: counts by status, and the message of each that could not be trained."""

    counts: dict[str, int] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


def train_all(planned: Sequence[Planned], jobs: int | None = None, console: Console | None = None) -> Outcome:
    """Bring every run to its end; those that are done are skipped without starting a process.

    Raises :class:`Interrupted` on Ctrl-C, on SIGTERM, or if a training process died: what is finished stays, and so do
    the checkpoints.
    """
    outcome = Outcome()
    unique = {item.folder.path: item for item in planned}
    pending = [item for item in unique.values() if not item.folder.is_done()]
    outcome.counts["skipped"] = len(unique) - len(pending)
    if not pending:
        return outcome
    # The longest first: at the end of a sweep no core waits for one long run of another.
    pending.sort(key=lambda item: (-cost(item), item.folder.name))
    if any(item.config.processes > 1 for item in pending):
        raise ConfigError("processes: a sweep trains every run in one process; torchrun is for scripts/train.py alone")
    threads = max(item.config.threads for item in pending)
    workers = jobs or max(1, (os.cpu_count() or 1) // threads)
    display = Display(console or Console(), pending, done=len(unique) - len(pending))
    context = multiprocessing.get_context("spawn")
    reports: Any = context.Queue()
    pool = ProcessPoolExecutor(
        min(workers, len(pending)), mp_context=context, initializer=_start_worker, initargs=(reports,)
    )
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with display:
            futures = {pool.submit(_train, item): item for item in pending}
            _follow(futures, reports, display, outcome)
    except KeyboardInterrupt:
        _stop(pool)
        raise Interrupted(
            f"stopped with {display.done} of {display.total} runs done; the same call goes on from here"
        ) from None
    except BrokenProcessPool as error:
        _stop(pool)
        raise Interrupted(
            f"a training process was killed ({display.done} of {display.total} runs done): out of memory? "
            "The same call goes on from here."
        ) from error
    finally:
        signal.signal(signal.SIGTERM, before)
    pool.shutdown()
    return outcome


PER_EXAMPLE = {"mlp": 1, "inception": 150, "bn_inception": 40_000}
"""What an example costs in a training step, in those of the fully connected network of §4.1."""
PER_STEP = 100
"""What a step costs whatever its size, in the same unit."""


def cost(item: Planned) -> float:
    """Relative length of a run: enough to tell the long from the short, whatever their network."""
    config = item.config
    return config.steps * (config.batch_size * PER_EXAMPLE[config.model.name] + PER_STEP)


def _follow(futures: dict[Future, Planned], reports: Any, display: Display, outcome: Outcome) -> None:
    left = set(futures)
    while left:
        finished, left = wait(left, timeout=SHOW_EVERY_S, return_when=FIRST_COMPLETED)
        _drain(reports, display)
        for future in finished:
            item = futures[future]
            try:
                status = future.result()
            except UserError as error:
                status = "failed"
                outcome.errors[item.folder.name] = str(error)
            outcome.counts[status] = outcome.counts.get(status, 0) + 1
            display.ended(item, status)


def _drain(reports: Any, display: Display) -> None:
    while True:
        try:
            display.report(reports.get_nowait())
        except queue.Empty:
            return


def _stop(pool: ProcessPoolExecutor) -> None:
    """End the workers at once: a run's folder is whole at any moment, and its checkpoint is at most seconds old."""
    processes = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
    for process in processes:
        process.join()


# -------------------------------------------------------------------------------------------------- the workers

_reports: Any = None


def _start_worker(reports: Any) -> None:
    global _reports
    _reports = reports
    # Ctrl-C reaches the whole group; the parent alone decides, and ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")


def _end_with_parent() -> None:
    """A killed parent cannot end its workers: they end themselves, as safely as by a kill of their own."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _train(planned: Planned) -> str:
    last = 0.0

    def watch(report: Report) -> None:
        nonlocal last
        if time.monotonic() - last > SHOW_EVERY_S:
            last = time.monotonic()
            _reports.put(report)

    return run.execute(planned, watch)


# -------------------------------------------------------------------------------------------------- the display


class Display:
    """Runs done / total, what runs now with step, loss and steps/s, time left; plain lines without a terminal."""

    def __init__(self, console: Console, pending: Sequence[Planned], done: int) -> None:
        self.console, self.live = console, console.is_terminal
        self.done, self.total = done, done + len(pending)
        self.work = sum(cost(item) for item in pending)
        self.costs = {item.folder.name: cost(item) for item in pending}
        self.finished_work, self.shares = 0.0, dict[str, float]()
        self.rows: dict[str, Any] = {}
        self.began = self.spoke = time.monotonic()
        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"), console=console, disable=not self.live, transient=True,
        )  # fmt: skip
        self.overall = self.progress.add_task("runs", total=self.total, completed=done, note="")

    def __enter__(self) -> Display:
        self.console.print(f"{self.total} runs: {self.done} done, {self.total - self.done} to train", highlight=False)
        self.progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.progress.stop()

    def report(self, report: Report) -> None:
        """A worker's message about a run under way."""
        if report.name not in self.costs:
            return
        self.shares[report.name] = report.step / max(report.steps, 1)
        loss = report.values.get("train/loss", report.values.get("validation/loss", float("nan")))
        note = f"loss {loss:.4f}  {report.steps_per_second:.0f} steps/s"
        if report.name not in self.rows:
            self.rows[report.name] = self.progress.add_task(report.name, total=report.steps, note=note)
        self.progress.update(self.rows[report.name], completed=report.step, note=note)
        self.progress.update(self.overall, note=self.time_left())
        if not self.live and time.monotonic() - self.spoke > PLAIN_EVERY_S:
            self.spoke = time.monotonic()
            line = f"[{self.done}/{self.total}] {report.name}  step {report.step:,}/{report.steps:,}  {note}"
            self._say(f"{line}  {self.time_left()}")

    def ended(self, item: Planned, status: str) -> None:
        """A run came to its end."""
        name = item.folder.name
        self.done += 1
        self.finished_work += self.costs.pop(name)
        self.shares.pop(name, None)
        if name in self.rows:
            self.progress.remove_task(self.rows.pop(name))
        self.progress.update(self.overall, completed=self.done, note=self.time_left())
        if not self.live:
            self._say(f"[{self.done}/{self.total}] {item.config.experiment}/{name}  {status}  {self.time_left()}")

    def time_left(self) -> str:
        """From the work done so far, in examples: runs of unequal length count by their length."""
        under_way = sum(self.costs[name] * share for name, share in self.shares.items())
        done = self.finished_work + under_way
        if done <= 0:
            return ""
        seconds = (time.monotonic() - self.began) * (self.work - done) / done
        return f"{seconds / 60:.0f} min left" if seconds > 90 else f"{max(seconds, 0):.0f} s left"

    def _say(self, line: str) -> None:
        self.console.print(line.rstrip(), highlight=False, soft_wrap=True, markup=False)
        sys.stdout.flush()
