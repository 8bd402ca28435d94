"""One request from its first figure to its last: what is published when, and which measurements run beside training."""

from __future__ import annotations

import csv
import functools
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bnrepro import store, tables
from bnrepro.claims import declared
from bnrepro.errors import NetworksMissing, UserError
from bnrepro.measurements import base as measure
from bnrepro.measurements.base import Measurement
from bnrepro.pipeline.plan import Plan
from bnrepro.report import drawing, judge, markdown
from bnrepro.runs.course import Chore, Course
from bnrepro.runs.display import roughly
from bnrepro.runs.planned import Planned
from bnrepro.stats import NOT_RUN
from bnrepro.tables import Results

FIRST = "mnist_training"
"""Its figures, the paper's Fig. 1, are the first to be seen."""
TIMED = ("step_cost", "whitening_cost", "gradient_estimate", "imagenet_plan")
"""Measurements of times: nothing else runs beside them."""
REFRESH_SHARE = 0.1
"""The largest share of the time that goes into writing the report again while runs are trained."""


class Stages(Course):
    """Publishes an experiment's tables, figures and verdicts as soon as its last run has ended.

    Tables and figures are written at once, the report so often that it costs at most :data:`REFRESH_SHARE` of the time.
    Measurements that measure no time run beside the training; the others one by one after it, with :meth:`finish`.
    """

    def __init__(self, plan: Plan, console: Console) -> None:
        self.plan, self.console, self.request = plan, console, plan.request
        self.errors: dict[str, str] = {}
        self.measured: dict[str, Measurement] = {}
        self._planned = False
        self._under_way: dict[str, set[str]] = {}
        """By experiment, the runs that have not ended."""
        self._complete: list[str] = []
        """Experiments and measurements that have ended."""
        self._given: set[str] = set()
        self._written: set[str] = set()
        self._told: set[str] = set()
        self._began, self._reporting = time.monotonic(), 0.0

    # ------------------------------------------------------------------------------------------- during training

    def more(self) -> Sequence[Planned]:
        if self._planned:
            return ()
        self._planned = True
        added = self.plan.rest()
        ended = []
        for name, items in self.plan.runs.items():
            self._under_way[name] = {item.folder.name for item in items if not item.folder.is_done()}
            if not self._under_way[name]:
                ended.append(name)
        if self.request.train and any(self._under_way.values()):
            self._publish(ended)
        else:
            self._complete += ended
        return added

    def seconds_after(self) -> float:
        return sum(self._seconds(name) for name in self.plan.measurements if name in TIMED)

    def ended(self, run: Planned) -> None:
        name = run.config.experiment
        if run.folder.name in self._under_way[name]:
            self._under_way[name].remove(run.folder.name)
            if not self._under_way[name]:
                self._publish([name])

    def ready(self) -> Sequence[Chore]:
        if not self._planned or (FIRST in self.plan.runs and FIRST not in self._complete):
            return ()
        chores = []
        for name in self.plan.measurements:
            if name in TIMED or name in self._given or self._under_way.get(measure.needs(name) or ""):
                continue
            self._given.add(name)
            item = self._measurement(name)
            if item is None:
                continue
            self.measured[name] = item
            if item.folder.is_done():
                self._complete.append(name)
            else:
                chores.append(Chore(f"measuring {name}", functools.partial(measure.execute, item), self._seconds(name)))
        return sorted(chores, key=lambda chore: chore.seconds)

    def made(self, chore: Chore, result: Any) -> None:
        name = chore.name.removeprefix("measuring ")
        if isinstance(result, UserError):
            del self.measured[name]
        else:
            self._publish([name])

    # ------------------------------------------------------------------------------------------------- after it

    def finish(self) -> judge.Found:
        """Make the measurements that are left, alone and one by one, and publish everything."""
        if not self._planned:
            self.more()
        left = [name for name in self.plan.measurements if name not in self._given]
        items = {name: item for name in left if (item := self._measurement(name)) is not None}
        missing = [name for name, item in items.items() if not item.folder.is_done()]
        for name, item in items.items():
            if name in missing:
                if not self.request.train:
                    say(self.console, f"{name} has not been measured here, and is left as it is")
                    continue
                rest = missing[missing.index(name) :]
                self._announce(name, len(missing) - len(rest) + 1, len(missing), sum(map(self._seconds, rest)))
            try:
                measure.execute(item)
            except UserError as error:
                self.errors[name] = str(error)
                continue
            self.measured[name] = item
            if name in missing:
                self._publish([name])
            else:
                self._complete.append(name)
        with store.alone_in(self.plan.results):
            self._write([name for name in (*self.plan.runs, *self.measured) if name not in self._written])
            return self._report()

    def _announce(self, name: str, number: int, count: int, seconds: float) -> None:
        alone = ", with nothing beside it" if name in TIMED else ""
        left = f", {roughly(seconds)} for all that are left" if number < count else ""
        text = f"measuring {name}{alone} ({number} of {count}): {roughly(self._seconds(name))}{left}"
        say(self.console, text)

    def _measurement(self, name: str) -> Measurement | None:
        """The measurement with its identity; None, with the reason said, if it cannot be made."""
        try:
            return self.plan.measurement(name)
        except NetworksMissing as error:
            if self.request.train:
                self.errors[name] = str(error)
            else:
                say(self.console, f"{name} is left as it is: {error}")
        except UserError as error:
            self.errors[name] = str(error)
        return None

    def _seconds(self, name: str) -> float:
        return durations().get((name, self.request.profile), 1.0)

    # ---------------------------------------------------------------------------------------------- publication

    @functools.cached_property
    def own(self) -> Path | None:
        """The user's folder with claims of theirs, if there is one."""
        return self.request.own_claims()

    @property
    def beside(self) -> Path | None:
        """The folder of Batch Normalization's own results, if another normaliser is asked."""
        own = self.request.results("batch", self.plan.on_digits)
        return own if own != self.plan.results else None

    def _publish(self, names: Sequence[str]) -> None:
        """Write tables and figures of what has ended, print its verdicts, and refresh the report if it is time."""
        if not names:
            return
        self._complete += names
        folder = self.plan.results
        with store.alone_in(folder):
            self._write(names)
            results = Results(folder, self.request.treatment, self.own)
            markdown.draw(results, self.request.profile)
            self._tell(results, names)
            spent = time.monotonic() - self._began
            if self._reporting <= REFRESH_SHARE * spent or FIRST in names:
                self._report()

    def _write(self, names: Sequence[str]) -> None:
        for name in names:
            self._written.add(name)
            if name in self.measured:
                tables.write_measurement(self.measured[name].folder, self.plan.results)
            else:
                folders = [item.folder for item in self.plan.runs[name]]
                write_tables(name, folders, self.plan.results, self.console)

    def _report(self) -> judge.Found:
        began = time.monotonic()
        request = self.request
        found = markdown.publish(self.plan.results, request.treatment, request.profile, self.beside, self.own)
        self._reporting += time.monotonic() - began
        return found

    def _tell(self, results: Results, names: Sequence[str]) -> None:
        """One line for each claim that can now be judged, and one for the figures of what has ended."""
        for name in names:
            if shown := drawing.pictures(results, name):
                more = f" and {len(shown) - 1} more" if len(shown) > 1 else ""
                label = "Fig. 1 of the paper" if name == FIRST else name
                say(self.console, f"{label}: {os.path.relpath(shown[0])}{more}")
        known = declared(results.own)
        for name in self._complete:
            for claim in known[name].claims if name in known else ():
                if claim.slug in self._told:
                    continue
                judgement = claim.asked_of(results.treatment).judge(results)
                if judgement.verdict != NOT_RUN:
                    self._told.add(claim.slug)
                    number, n = judge.deciding(judgement)
                    counted = f"{number}, {n}" if n != "–" else number
                    say(self.console, f"  {claim.slug}: {judge.marked(judgement.verdict)} ({counted})")


def write_tables(name: str, runs: Sequence[store.RunFolder], folder: Path, console: Console) -> None:
    """Write an experiment's tables from its finished ``runs``.

    The tables stay as they are if they hold unfinished ones: in a fresh clone they hold runs that its outputs lack.
    """
    if kept := tables.held(name, [run for run in runs if not run.is_done()], folder):
        say(
            console,
            f"{name}: its tables stay as they are, since {len(kept)} of the runs in them are not in the outputs folder "
            "(make restore brings them back, except those whose networks are kept)",
        )
    else:
        tables.write_experiment(name, [run for run in runs if run.is_done()], folder)


def say(console: Console, text: str) -> None:
    """A line on the terminal, as it stands."""
    console.print(text, highlight=False, soft_wrap=True, markup=False)


@functools.cache
def durations() -> dict[tuple[str, str], float]:
    """Roughly how long measurements take, in seconds by name and profile: see ``durations.csv`` beside this file."""
    with Path(__file__).with_name("durations.csv").open(encoding="utf-8", newline="") as file:
        return {
            (line["measurement"], profile): float(line[profile])
            for line in csv.DictReader(file)
            for profile in ("smoke", "quick", "full")
        }
