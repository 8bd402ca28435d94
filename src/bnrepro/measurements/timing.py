"""How times are measured: short slices of all competitors in turn, medians within a round, ratios round by round.

A round has many slices of every workload, alternately forwards and backwards, so that a slow moment of the machine
affects all of them alike and no workload always follows the same other. The time of a workload in a round is the median
of its slices; ratios are formed within each round. Results are medians over rounds, with their range.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

T = TypeVar("T")


class Timings:
    """Seconds by workload, round and slice.

    ``cpu_seconds`` / ``wall_seconds`` is the share of the time in which this process had a core: well below 1, other
    work used the machine and all times are too long. The share says nothing where the work ``waits`` for other
    processes.
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
        """Call ``call``; its duration is one slice of ``name`` in the current round."""
        cpu, start = self._cpu(), self._clock()
        result = call()
        seconds = self._clock() - start
        self.cpu_seconds += self._cpu() - cpu
        self.wall_seconds += seconds
        self.rounds[-1].setdefault(name, []).append(seconds)
        return result

    def seconds(self, name: str) -> list[float]:
        """The median over the slices of ``name``, for each round."""
        return [statistics.median(slices[name]) for slices in self.rounds]

    def totals(self, name: str) -> list[float]:
        """The sum over the slices of ``name``, for each round: for events whose rare slow ones count."""
        return [sum(slices[name]) for slices in self.rounds]

    def ratios(self, above: str, below: str) -> list[float]:
        """Time of ``above`` / time of ``below``, for each round."""
        return [a / b for a, b in zip(self.seconds(above), self.seconds(below), strict=True)]


def interleave(
    workloads: Mapping[str, Callable[[], object]], rounds: int, slices: int, timings: Timings | None = None
) -> Timings:
    """Time all ``workloads`` against each other.

    Each is first called once without timing, since first calls allocate memory.
    """
    timings = timings or Timings()
    for call in workloads.values():
        call()
    for _ in range(rounds):
        timings.new_round()
        for index in range(slices):
            for name in list(workloads)[:: 1 if index % 2 == 0 else -1]:
                timings.time(name, workloads[name])
    return timings
