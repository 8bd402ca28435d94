"""What is shown during training: the progress of one run; for a sweep, runs done, current runs and the time left."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from bnrepro.runs.course import Chore
from bnrepro.runs.planned import Planned, Report

PLAIN_EVERY_S = 15.0
LINES = 10
"""Of a single run without a terminal."""
STEP_COST = 100
"""The cost of a training step beyond its examples, in examples of the fully connected network."""


def cost(item: Planned) -> float:
    """Relative length of a run: precise enough to tell long runs from short ones, whatever their network."""
    config = item.config
    return config.steps * (config.batch_size * config.model.example_cost + STEP_COST)


def roughly(seconds: float) -> str:
    """``about 40 s``, ``about 3 min``."""
    return f"about {seconds / 60:.0f} min" if seconds > 90 else f"about {max(seconds, 1):.0f} s"


class OneRun:
    """Progress of a single run by lines: one a second at a terminal; elsewhere ten in all, which a log file keeps."""

    def __init__(self, say: Callable[[str], None], terminal: bool, every_s: float = 1.0) -> None:
        self.say, self.terminal, self.every_s = say, terminal, every_s
        self.spoke, self.tenth = -math.inf, -1

    def __call__(self, report: Report) -> None:
        tenth = LINES * report.step // max(report.steps, 1)
        early = time.monotonic() - self.spoke < self.every_s or not (self.terminal or tenth > self.tenth)
        if report.step < report.steps and early:
            return
        self.spoke, self.tenth = time.monotonic(), tenth
        values = "  ".join(f"{name} {value:.4f}" for name, value in report.values.items())
        speed = f"{report.steps_per_second:.0f} steps/s"
        self.say(f"{report.name}  step {report.step}/{report.steps}  {values}  {speed}")


class Display:
    """Runs done and in total, current runs with step, loss and steps per second, and the time left."""

    def __init__(self, console: Console, pending: Sequence[Planned], done: int) -> None:
        self.console, self.live = console, console.is_terminal
        self.started = self.complete = False
        self.done = self.total = 0
        self.work, self.costs = 0.0, dict[str, float]()
        self.finished_work, self.shares = 0.0, dict[str, float]()
        self.seconds_after = 0.0
        """Of what comes after the runs."""
        self.said = 0
        """The total that was said last."""
        self.rows: dict[str, Any] = {}
        self.began = self.spoke = time.monotonic()
        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"), console=console, disable=not self.live, transient=True,
        )  # fmt: skip
        self.overall = self.progress.add_task("runs", total=0, completed=0, note="")
        self.add(pending, done)

    def add(self, pending: Sequence[Planned], done: int) -> None:
        """Count further runs, some of them ``done``."""
        self.done, self.total = self.done + done, self.total + done + len(pending)
        found = {item.folder.name: cost(item) for item in pending}
        self.costs |= found
        self.work += sum(found.values())
        self.progress.update(self.overall, total=self.total, completed=self.done)

    def completes(self) -> None:
        """From now on the total is known, and with it the time left."""
        self.complete = True
        if self.started and self.total != self.said:
            self._count()

    def _count(self) -> None:
        self.said = self.total
        self._say(f"{self.total} runs: {self.done} done, {self.total - self.done} to train")

    def __enter__(self) -> Display:
        self.started = True
        self.began = time.monotonic()  # planning is no work of the runs
        self._count()
        self.progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.progress.stop()

    def report(self, report: Report) -> None:
        """Show the message of a worker about its current run."""
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
        """Count a run that has ended."""
        name = item.folder.name
        self.done += 1
        self.finished_work += self.costs.pop(name)
        self.shares.pop(name, None)
        if name in self.rows:
            self.progress.remove_task(self.rows.pop(name))
        self.progress.update(self.overall, completed=self.done, note=self.time_left())
        if not self.live:
            self._say(f"[{self.done}/{self.total}] {item.config.experiment}/{name}  {status}  {self.time_left()}")

    def starts(self, chore: Chore) -> None:
        """Show what a worker does besides training, and how long it takes."""
        about = roughly(chore.seconds) if chore.seconds else ""
        if self.live:
            self.rows[chore.name] = self.progress.add_task(chore.name, total=None, note=about)
        elif about:
            self._say(f"{chore.name}: {about}")

    def made(self, chore: Chore) -> None:
        """Remove what a worker has done."""
        if chore.name in self.rows:
            self.progress.remove_task(self.rows.pop(chore.name))

    def time_left(self) -> str:
        """Estimated from the work done so far: runs count by their length; with what comes after them."""
        under_way = sum(self.costs[name] * share for name, share in self.shares.items())
        done = self.finished_work + under_way
        if done <= 0 or not self.complete:
            return ""
        seconds = (time.monotonic() - self.began) * (self.work - done) / done + self.seconds_after
        return f"{seconds / 60:.0f} min left" if seconds > 90 else f"{max(seconds, 0):.0f} s left"

    def _say(self, line: str) -> None:
        self.console.print(line.rstrip(), highlight=False, soft_wrap=True, markup=False)
        sys.stdout.flush()
