"""Whole sweeps and processes: two cores against one, a second `make reproduce`, the memory of a run."""

from __future__ import annotations

import io
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from benchmarks import subjects
from benchmarks.rows import Bench, Bound, Measured, Skipped, row
from bnrepro.config.compose import Composer
from bnrepro.runs import engine, run

RUNS, CORES = 8, 2

"""Runs in its own process: a child's peak includes what its parent held when it started, here next to nothing."""


@row("parallel-sweep", f"a sweep of {RUNS} equal runs on {CORES} cores / the same on one: time")
def parallel_sweep(bench: Bench) -> Iterator[Measured]:
    if (os.cpu_count() or 1) < CORES:
        raise Skipped(f"needs {CORES} cores")
    steps = bench.size(8000, 40)
    overrides = ["experiment=mnist_training", "norm=batch", f"seed=range({RUNS})", f"steps={steps}"]
    if not subjects.has_mnist():
        overrides.insert(1, "data=digits")
    with Composer() as composer:
        configs = composer.sweep(overrides)
    fresh, timings = itertools.count(), bench.clock(waits=True)

    def sweep(jobs: int) -> None:
        with subjects.outputs_in(bench.folder / f"sweep-{next(fresh)}"):
            outcome = engine.train_all([run.plan(config) for config in configs], jobs, Console(file=io.StringIO()))
        if outcome.counts.get("finished") != RUNS:
            raise RuntimeError(f"the sweep did not train its {RUNS} runs: {outcome}")

    for index in range(bench.long_rounds):
        timings.new_round()
        for jobs in (CORES, 1) if index % 2 == 0 else (1, CORES):
            timings.time(f"jobs={jobs}", lambda jobs=jobs: sweep(jobs))
    details = {"steps": steps} | {f"jobs={jobs}": timings.seconds(f"jobs={jobs}") for jobs in (CORES, 1)}
    yield Measured(
        "batch", timings.ratios(f"jobs={CORES}", "jobs=1"), "×", Bound("most", 0.6), subjects.on_digits(), details
    )


@row("second-reproduce", "make reproduce PROFILE=smoke after a finished one")
def second_reproduce(bench: Bench) -> Iterator[Measured]:
    folder = bench.folder / "reproduce"
    command = [sys.executable, "scripts/reproduce.py", "--profile", "smoke"]
    if not subjects.has_mnist():
        command.append("data=digits")
    with subjects.outputs_in(folder):
        subjects.call(command)
        timings, trained = bench.clock(waits=True), []
        for _ in range(bench.size(bench.long_rounds, 1)):
            timings.new_round()
            before = _finished(folder)
            timings.time("second", lambda: subjects.call(command))
            trained.append(float(len(_finished(folder) - before)))
    yield Measured("all", timings.seconds("second"), "s", Bound("most", 10.0), subjects.on_digits())
    yield Measured("all", trained, "runs", Bound("most", 0.0), note="runs that the second call trains")


@row("peak-memory", "the process of one MNIST run, largest resident set")
def peak_memory(bench: Bench) -> Iterator[Measured]:
    if not subjects.has_mnist():
        raise Skipped("MNIST not found")
    train = ["scripts/train.py", "experiment=mnist_training", f"steps={bench.size(2000, 20)}"]
    for arm in subjects.ARMS:
        peaks = []
        for index in range(bench.long_rounds):
            with subjects.outputs_in(bench.folder / f"memory-{arm}-{index}"):
                peaks.append(subjects.peak_memory([sys.executable, *train, f"norm={arm}"]))
        yield Measured(arm, peaks, "MB", Bound("most", 700.0))


def _finished(outputs: Path) -> set[tuple[Path, int]]:
    """Every finished run with its time of completion, so that a run trained again counts as another."""
    return {(path, path.stat().st_mtime_ns) for path in outputs.glob("runs/*/*/DONE")}
