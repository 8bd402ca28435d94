"""The rows of the benchmark: what they are given, what they yield, and their registry."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from bnrepro.measurements.timing import Timings

T = TypeVar("T")


class Skipped(Exception):
    """A row cannot be measured honestly here. The message gives the reason."""


@dataclass(frozen=True)
class Bound:
    """A row's value should be at least, or at most, ``value``."""

    kind: Literal["least", "most"]
    value: float

    def met(self, value: float) -> bool:
        return value >= self.value if self.kind == "least" else value <= self.value


@dataclass(frozen=True)
class Measured:
    """One line of the table: a value per round, in ``unit``, and the bound on their median, if any."""

    arm: str
    rounds: list[float]
    unit: Literal["×", "%", "s", "MB", "runs"]
    bound: Bound | None = None
    note: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def value(self) -> float:
        return statistics.median(self.rounds)

    @property
    def met(self) -> bool | None:
        return self.bound.met(self.value) if self.bound else None


@dataclass
class Bench:
    """What a row is given: how much to measure, and a temporary folder, which is removed at the end."""

    rounds: int
    quick: bool
    folder: Path
    timings: list[Timings] = field(default_factory=list)

    @property
    def long_rounds(self) -> int:
        """Rounds of the rows that take minutes each."""
        return max(1, self.rounds // 2)

    def size(self, usual: T, quick: T) -> T:
        return quick if self.quick else usual

    def clock(self, waits: bool = False, processor: bool = False) -> Timings:
        """New timings, counted in the benchmark's record of how busy the machine was.

        ``waits`` says that other processes do the work. ``processor`` counts the time of this process alone, for work
        of one thread: other work on the machine then matters less.
        """
        self.timings.append(Timings(time.process_time if processor else time.perf_counter, waits=waits))
        return self.timings[-1]


Measure = Callable[[Bench], Iterator[Measured]]


@dataclass(frozen=True)
class Row:
    """``compared`` tells the reader of the table what is divided by what."""

    name: str
    compared: str
    measure: Measure


ROWS: dict[str, Row] = {}


def row(name: str, compared: str) -> Callable[[Measure], Measure]:
    """Register a function as the row ``name``. It yields one :class:`Measured` per arm, or raises :class:`Skipped`."""

    def register(measure: Measure) -> Measure:
        if name in ROWS:
            raise ValueError(f"two rows are named {name}")
        ROWS[name] = Row(name, compared, measure)
        return measure

    return register
