"""One request from its first figure to its last: what is published when, and which measurements run beside training."""

from __future__ import annotations

import contextlib
import csv
import functools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bnrepro import store
from bnrepro.errors import NetworksMissing, UserError
from bnrepro.measurements import base as measure
from bnrepro.measurements.base import Measurement
from bnrepro.pipeline.ahead import Ahead
from bnrepro.pipeline.plan import Plan
from bnrepro.pipeline.publication import FIRST, Place, Publication, Published
from bnrepro.report import judge
from bnrepro.runs.course import Chore, Course
from bnrepro.runs.display import roughly
from bnrepro.runs.planned import Planned

TIMED = ("step_cost", "normaliser_cost", "whitening_cost", "gradient_estimate", "imagenet_plan")
"""Measurements of times: nothing else runs beside them."""
REFRESH_SHARE = 0.05
"""The largest share of the time that goes into writing the report again while runs are trained."""


class Stages(Course):
    """Plans one experiment after another while runs are trained, and publishes each as soon as its last run has ended.

    Tables and figures are written at once, the report so often that it costs at most :data:`REFRESH_SHARE` of the time;
    one of the workers does it, and what ends meanwhile is published together after it. Only Fig. 1 is published by the
    parent: somebody waits for it, and a worker may be busy for a minute. Where results are to be found is known once
    all is planned: nothing is published before. Measurements that measure no time run beside the training; the others
    one by one after it, with :meth:`finish`.
    """

    def __init__(self, plan: Plan, console: Console) -> None:
        self.plan, self.console, self.request = plan, console, plan.request
        self.errors: dict[str, str] = {}
        self.measured: dict[str, Measurement] = {}
        self._planned = False
        self._ahead: Ahead | None = None
        self._under_way: dict[str, set[str]] = {}
        """By experiment, the runs that have not ended."""
        self._complete: list[str] = []
        """Experiments and measurements that have ended."""
        self._given: set[str] = set()
        self._waiting: list[str] = []
        """What has ended and is not published."""
        self._publishing: Publication | None = None
        self._written: set[str] = set()
        self._told: set[str] = set()
        self._began, self._reporting = time.monotonic(), 0.0
        for name, items in plan.runs.items():
            self._follow(name, items)

    # ------------------------------------------------------------------------------------------- during training

    def more(self, wait: bool = False) -> Sequence[Planned] | None:
        if self._ahead is None:
            self._ahead = Ahead(self.plan)
        found = self._ahead.found(wait)
        for name, items in found:
            self._follow(name, items)
        if found or not self._ahead.ended:
            return [item for _, items in found for item in items]
        if not self._planned and not (self.request.train and any(self._under_way.values())):
            self._waiting.clear()  # nothing is trained: everything is published at the end
        self._planned = True
        return None

    def _follow(self, name: str, items: Sequence[Planned]) -> None:
        self._under_way[name] = {item.folder.name for item in items if not item.folder.is_done()}
        self._end_if_none_is_left(name)

    def _end_if_none_is_left(self, name: str) -> None:
        if not self._under_way[name]:
            self._complete.append(name)
            self._waiting.append(name)

    def seconds_after(self) -> float:
        return sum(self._seconds(name) for name in self.plan.measurements if name in TIMED)

    def ended(self, run: Planned) -> None:
        name = run.config.experiment
        if run.folder.name in self._under_way[name]:
            self._under_way[name].remove(run.folder.name)
            self._end_if_none_is_left(name)

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
        chores.sort(key=lambda chore: chore.seconds)
        if FIRST in self._waiting:
            with contextlib.suppress(UserError):  # it is tried again at the end
                self._publish()
        if self._waiting and self._publishing is None:
            self._publishing = self._publication()
            chores.insert(0, Chore(PUBLISHING, self._publishing))
        return chores

    def made(self, chore: Chore, result: Any) -> None:
        if chore.name == PUBLISHING:
            publication, self._publishing = self._publishing, None
            if publication is not None and isinstance(result, Published):  # else it is tried again at the end
                self._hear(publication, result)
            return
        name = chore.name.removeprefix("measuring ")
        if isinstance(result, UserError):
            del self.measured[name]
        else:
            self._complete.append(name)
            self._waiting.append(name)

    # ------------------------------------------------------------------------------------------------- after it

    def finish(self) -> judge.Found:
        """Make the measurements that are left, alone and one by one, and publish everything."""
        while self.more(wait=True) is not None:
            pass
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
            self._complete.append(name)
            if name in missing:
                self._waiting.append(name)
                self._publish()
        with store.alone_in(self.place.folder):
            rest = [name for name in (*self.plan.runs, *self.measured) if name not in self._written]
            for line in self._of(rest).write():
                say(self.console, line)
            return self.place.report()

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
    def place(self) -> Place:
        """Where the results go, once all is planned."""
        request, folder = self.request, self.plan.results
        batch = request.results("batch", self.plan.on_digits)
        beside = batch if batch != folder else None
        return Place(folder, request.treatment, request.profile, beside, request.own_claims())

    def _publication(self) -> Publication:
        """Of what has ended since the last one."""
        names, self._waiting = self._waiting, []
        return self._of(names)

    def _publish(self) -> None:
        publication = self._publication()
        self._hear(publication, publication())

    def _of(self, names: Sequence[str]) -> Publication:
        spent = time.monotonic() - self._began
        return Publication(
            self.place,
            {name: [item.folder for item in self.plan.runs[name]] for name in names if name not in self.measured},
            {name: self.measured[name].folder for name in names if name in self.measured},
            tuple(self._complete),
            frozenset(self._told),
            self._reporting <= REFRESH_SHARE * spent or FIRST in names,
        )

    def _hear(self, publication: Publication, said: Published) -> None:
        self._written.update(publication.runs, publication.measured)
        for line in said.lines:
            say(self.console, line)
        self._told.update(said.claims)
        self._reporting += said.seconds or 0.0


PUBLISHING = "drawing and judging"


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
