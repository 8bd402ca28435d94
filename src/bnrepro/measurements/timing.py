"""How times are taken: short slices of all competitors in turn, medians within a round, ratios round by round.

A round is many slices of every workload, alternately forwards and backwards, so that a slow moment of the machine
meets all of them alike and none always follows the same other. The time of a workload in a round is the median of its
slices; a ratio is formed within each round. What is reported is the median over rounds with their range.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

T = TypeVar("T")


class Timings:
    """Seconds by workload, round and slice.

    ``cpu_seconds`` / ``wall_seconds`` is the share of the time in which this process had a core: well below 1, others
    were using the machine and all times are too long. It says nothing where the work ``waits`` for other processes.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.perf_counter,
        cpu: Callable[[], float] = time.process_time,
        waits: bool = False,
    ) -> None:
        self._clock, self._cpu, self.waits = clock, cpu, waits
        self.rounds: list[dict[str, list[float]]] = []
        self.wall_seconds = self.cpu_seconds = 0.0

    def new_round(self) -> None:
        self.rounds.append({})

    def time(self, name: str, call: Callable[[], T]) -> T:
        """Call it; the duration is one slice of ``name`` in the present round."""
        cpu, start = self._cpu(), self._clock()
        result = call()
        seconds = self._clock() - start
        self.cpu_seconds += self._cpu() - cpu
        self.wall_seconds += seconds
        self.rounds[-1].setdefault(name, []).append(seconds)
        return result

    def seconds(self, name: str) -> list[float]:
        """Per round the median over the slices of ``name``."""
        return [statistics.median(slices[name]) for slices in self.rounds]

    def totals(self, name: str) -> list[float]:
        """Per round the sum over the slices of ``name``: for events whose rare slow ones count."""
        return [sum(slices[name]) for slices in self.rounds]

    def ratios(self, above: str, below: str) -> list[float]:
        """Per round: time of ``above`` / time of ``below``."""
        return [a / b for a, b in zip(self.seconds(above), self.seconds(below), strict=True)]


def interleave(
    workloads: Mapping[str, Callable[[], object]], rounds: int, slices: int, timings: Timings | None = None
) -> Timings:
    """Time all ``workloads`` against each other. Each is called once beforehand, untimed: first calls allocate."""
    timings = timings or Timings()
    for call in workloads.values():
        call()
    for _ in range(rounds):
        timings.new_round()
        for index in range(slices):
            for name in list(workloads)[:: 1 if index % 2 == 0 else -1]:
                timings.time(name, workloads[name])
    return timings
