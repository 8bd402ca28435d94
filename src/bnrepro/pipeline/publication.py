"""What is published of experiments that have ended: their tables, figures and verdict lines, and the report.

A publication is picklable, so that one of the processes that train can do it while the parent gives others their work.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bnrepro import store, tables
from bnrepro.claims import declared
from bnrepro.report import drawing, judge, markdown
from bnrepro.stats import NOT_RUN
from bnrepro.tables import Results

FIRST = "mnist_training"
"""Its figures, the paper's Fig. 1, are the first to be seen."""


@dataclass(frozen=True)
class Place:
    """The results ``folder`` of one request, and who is asked there: see :func:`bnrepro.report.markdown.publish`."""

    folder: Path
    treatment: str
    profile: str
    beside: Path | None = None
    own: Path | None = None

    def report(self) -> judge.Found:
        """Write the report, and the figures that are out of date."""
        return markdown.publish(self.folder, self.treatment, self.profile, self.beside, self.own)


@dataclass
class Published:
    """What a publication says: ``lines`` for the terminal, and the claims in them.

    ``seconds`` went into the report; None if it was not written.
    """

    lines: list[str] = field(default_factory=list)
    claims: list[str] = field(default_factory=list)
    seconds: float | None = None


@dataclass(frozen=True)
class Publication:
    """Experiments whose ``runs`` have all ended, and measurements that have been made (``measured``), by name.

    ``complete`` names all that have ended so far: their claims are said, except those ``told`` before. The report is
    written again if ``reported``.
    """

    place: Place
    runs: Mapping[str, Sequence[store.RunFolder]]
    measured: Mapping[str, store.RunFolder]
    complete: Sequence[str]
    told: Collection[str]
    reported: bool

    def __call__(self) -> Published:
        said = Published()
        with store.alone_in(self.place.folder):
            said.lines += self.write()
            results = Results(self.place.folder, self.place.treatment, self.place.own)
            markdown.draw(results, self.place.profile)
            self._tell(results, said)
            if self.reported:
                began = time.monotonic()
                self.place.report()
                said.seconds = time.monotonic() - began
        return said

    def write(self) -> list[str]:
        """Write the tables. Returns what is to be said of them."""
        for folder in self.measured.values():
            tables.write_measurement(folder, self.place.folder)
        return [line for name, runs in self.runs.items() for line in write_tables(name, runs, self.place.folder)]

    def _tell(self, results: Results, said: Published) -> None:
        """A line for the figures of what has ended, and one for each claim that can now be judged."""
        for name in (*self.runs, *self.measured):
            if shown := drawing.pictures(results, name):
                more = f" and {len(shown) - 1} more" if len(shown) > 1 else ""
                label = "Fig. 1 of the paper" if name == FIRST else name
                said.lines.append(f"{label}: {os.path.relpath(shown[0])}{more}")
        known = declared(results.own)
        for claim in (claim for name in self.complete if name in known for claim in known[name].claims):
            if claim.slug in self.told:
                continue
            judgement = claim.asked_of(results.treatment).judge(results)
            if judgement.verdict != NOT_RUN:
                said.claims.append(claim.slug)
                number, n = judge.deciding(judgement)
                counted = f"{number}, {n}" if n != "–" else number
                said.lines.append(f"  {claim.slug}: {judge.marked(judgement.verdict)} ({counted})")


RESTORE = "make restore brings them back, except those whose networks are kept"


def write_tables(name: str, runs: Sequence[store.RunFolder], folder: Path, way: str = RESTORE) -> list[str]:
    """Write an experiment's tables from its finished ``runs``. Returns what is to be said of it.

    ``way`` tells how to get runs that the tables hold and the outputs lack.

    The tables stay as they are if they hold unfinished ones: in a fresh clone they hold runs that its outputs lack.
    """
    if kept := tables.held(name, [run for run in runs if not run.is_done()], folder):
        return [
            f"{name}: its tables stay as they are, since {len(kept)} of the runs in them are not in the outputs folder "
            f"({way})"
        ]
    tables.write_experiment(name, [run for run in runs if run.is_done()], folder)
    return []
