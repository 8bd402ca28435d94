"""The cost of watching a run: probes, logging and checkpoints as shares of the run's time.

A share is the cost of one event × the number of such events in the run's schedule / the time of the run, which is that
of its steps and evaluations. Events and steps are timed in turn. The schedule is the full profile's.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from logging import LogRecord
from pathlib import Path
from typing import Any

from benchmarks import subjects
from benchmarks.rows import Bench, Bound, Measured, row
from benchmarks.subjects import ARMS, SLICE_STEPS
from bnrepro import store
from bnrepro.config.identity import arm_label
from bnrepro.config.schema import Config
from bnrepro.measurements.timing import Timings, interleave
from bnrepro.probes import Observation
from bnrepro.probes.activations import ActivationProbe
from bnrepro.training import checkpoint, tracking
from bnrepro.training.loop import Trainer

MODES = ("offline", "disabled")

FIRST_START = """
import time
from benchmarks import subjects
from bnrepro.training.tracking import Tracker
config = subjects.config("none", "wandb=offline")
began = time.perf_counter()
tracker = Tracker()
tracker.start(config, "first", "none")
tracker.ended("finished", 0)
tracker.finish()
print(time.perf_counter() - began)
"""


@row("probes", "activation probe at the full profile's schedule / a run of 50,000 steps: time")
def probes(bench: Bench) -> Iterator[Measured]:
    for arm in ARMS:
        watched = Watched(arm, bench)
        workloads: dict[str, Callable[[], object]] = {kind: watched.observation(kind) for kind in watched.counts}
        workloads["writing"] = _writing(bench, watched.tables(share=1.0))
        counts = {**watched.counts, "writing": 1}
        timings = _with_run(watched.trainer, workloads, bench)
        parts = {kind: [count * seconds for seconds in timings.seconds(kind)] for kind, count in counts.items()}
        costs = [sum(of_round) for of_round in zip(*parts.values(), strict=True)]
        details = {kind: {"events": counts[kind], "seconds_in_all": parts[kind]} for kind in counts}
        yield _share(arm, costs, run_seconds(watched.trainer, timings), Bound("most", 5.0), details)


@row("landscape-probe", "probe of the loss landscape at 20 points / a run of 10,000 steps: time")
def landscape_probe(bench: Bench) -> Iterator[Measured]:
    yield from _at_next_step("landscape", bench)


@row("shift-probe", "probe of covariate shift at 20 points / a run of 10,000 steps: time")
def shift_probe(bench: Bench) -> Iterator[Measured]:
    yield from _at_next_step("shift", bench)


def _at_next_step(name: str, bench: Bench) -> Iterator[Measured]:
    """The probe ``name`` in the experiment ``name``: its share of a run, and one of its points against a step."""
    for arm in ARMS:
        trainer = subjects.trainer(arm, bench.quick, experiment=name)
        timings = _with_run(trainer, {"point": _next_point(trainer)}, bench)
        [probe] = trainer.probes
        costs = [len(probe.steps) * seconds for seconds in timings.seconds("point")]
        details = {"points": len(probe.steps), "seconds_a_point": timings.seconds("point")}
        yield _share(arm, costs, run_seconds(trainer, timings), None, details)
        in_steps = [SLICE_STEPS * ratio for ratio in timings.ratios("point", "steps")]
        yield Measured(arm, in_steps, "×", note="one point / one training step")


def _next_point(trainer: Trainer) -> Callable[[], Observation]:
    """Observes the next point of the schedule at each call. Each lies in another epoch, whose order has to be drawn."""
    [probe] = trainer.probes
    points = itertools.cycle(sorted(probe.steps))
    return lambda: probe.observe(trainer.model, next(points))


@row("logging", "extra time with W&B offline, start and finish included / a run of 50,000 steps: time")
def logging(bench: Bench) -> Iterator[Measured]:
    """Times a stretch of training with and without W&B. It makes every call of a whole run, with fewer steps between.

    The difference covers the calls, the steps that W&B's thread slows down, and the wait at the end.
    """
    run: list[float] = []
    for arm in ARMS:
        watched, timings = Watched(arm, bench), bench.clock()
        steps = subjects.steps_of(watched.trainer)
        stretches = {mode: _stretch(watched, subjects.config(arm, f"wandb={mode}"), bench) for mode in MODES}
        with subjects.outputs_in(bench.folder / "logging"), _whole_views():
            for stretch in stretches.values():
                stretch()  # untimed: starts the service that a sweep's process keeps
            for index in range(bench.rounds):
                timings.new_round()
                for mode in MODES[:: 1 if index % 2 == 0 else -1]:
                    timings.time(mode, stretches[mode])
                for _ in range(bench.size(10, 2)):
                    timings.time("steps", steps)
                    timings.time("evaluation", functools.partial(watched.trainer.evaluate, 1))
        run = run_seconds(watched.trainer, timings)
        seconds = {mode: timings.seconds(mode) for mode in MODES}
        costs = [shown - hidden for shown, hidden in zip(seconds["offline"], seconds["disabled"], strict=True)]
        yield _share(arm, costs, run, Bound("most", 2.0), {"stretch_seconds": seconds})
    note = "the first start of W&B in a process, with its import and its service: once, not per run"
    shares = [
        100 * _first_start(bench.folder / f"first-{index}") / seconds
        for index, seconds in enumerate(run[: bench.long_rounds])
    ]
    yield Measured(ARMS[-1], shares, "%", note=note)


@row("checkpoints", "writing a checkpoint / the time between two, checkpoint_every_s")
def checkpoints(bench: Bench) -> Iterator[Measured]:
    for arm in ARMS:
        watched = Watched(arm, bench)
        trainer, folder = watched.trainer, store.RunFolder(bench.folder / "checkpoints" / arm)
        # A checkpoint holds the tables so far. They grow evenly, so those at half-way have the mean size.
        trainer.progress.tables |= watched.tables(share=0.5)
        timings = _with_run(trainer, {"checkpoint": _checkpoint(trainer, folder)}, bench)
        every = trainer.config.checkpoint_every_s
        details = {"seconds": timings.seconds("checkpoint"), "bytes": len(checkpoint.save(trainer))}
        yield _share(arm, timings.seconds("checkpoint"), [every] * bench.rounds, Bound("most", 2.0), details)


def _checkpoint(trainer: Trainer, folder: store.RunFolder) -> Callable[[], None]:
    return lambda: folder.write_checkpoint(checkpoint.save(trainer))


# ---------------------------------------------------------------------------------------------------- the run


def run_seconds(trainer: Trainer, timings: Timings) -> list[float]:
    """Per round, the time of the whole run: its steps and its evaluations."""
    steps, looks = trainer.config.steps, len(trainer.evaluations)
    slices = zip(timings.seconds("steps"), timings.seconds("evaluation"), strict=True)
    return [steps / SLICE_STEPS * step + looks * evaluation for step, evaluation in slices]


def _with_run(trainer: Trainer, workloads: Mapping[str, Callable[[], object]], bench: Bench) -> Timings:
    """Time ``workloads`` in turn with slices of the run itself."""
    run = {"steps": subjects.steps_of(trainer), "evaluation": lambda: trainer.evaluate(1)}
    return interleave({**run, **workloads}, bench.rounds, bench.size(10, 2), bench.clock())


def _share(
    arm: str, costs: Sequence[float], whole: Sequence[float], bound: Bound | None, details: dict[str, Any]
) -> Measured:
    shares = [100 * cost / seconds for cost, seconds in zip(costs, whole, strict=True)]
    return Measured(arm, shares, "%", bound, subjects.data_note(), details | {"whole_seconds": list(whole)})


# ------------------------------------------------------------------------------------------------------ probes


class Watched:
    """A full run with its activation probe. ``counts`` are the events of each kind in the probe's schedule.

    Events of one kind observe the same quantities and cost the same.
    """

    def __init__(self, arm: str, bench: Bench) -> None:
        self.trainer = subjects.trainer(arm, bench.quick, probes=True)
        [probe] = self.trainer.probes
        assert isinstance(probe, ActivationProbe)
        self.probe = probe
        kinds = {step: self._kind(step) for step in sorted(probe.steps, reverse=True)}
        self.counts = Counter(kinds.values())
        self._first = {kind: step for step, kind in kinds.items()}

    def _kind(self, step: int) -> str:
        probe = self.probe
        parts = {
            "percentiles": probe.percentile_steps,
            "batch statistics": probe.batch_steps,
            "histograms": probe.histogram_steps,
        }
        return " + ".join(name for name, steps in parts.items() if step in steps)

    def observation(self, kind: str) -> Callable[[], Observation]:
        return lambda: self.probe.observe(self.trainer.model, self._first[kind])

    def tables(self, share: float) -> dict[str, list[str]]:
        """As many lines as the probe has written after the given share of the run."""
        tables: dict[str, list[str]] = {name: [] for name in self.probe.headers}
        for kind, count in self.counts.items():
            for name, rows in self.observation(kind)().rows.items():
                tables[name] += rows * round(count * share)
        return tables


def _writing(bench: Bench, tables: dict[str, list[str]]) -> Callable[[], None]:
    """Writes the probe's tables, as a run does when it is finished."""

    def write() -> None:
        for name, lines in tables.items():
            store.write_atomic(bench.folder / f"{name}.csv", "\n".join(lines))

    return write


# ----------------------------------------------------------------------------------------------------- logging


def _stretch(watched: Watched, config: Config, bench: Bench) -> Callable[[], None]:
    """Makes every W&B call of a whole run, with a few steps between them, beside which W&B's thread works."""
    between, values = subjects.steps_of(watched.trainer, bench.size(20, 2)), watched.trainer.evaluate(1)
    evaluations, probe, keys = watched.trainer.evaluations, watched.probe, itertools.count()
    looks = sorted(evaluations | probe.steps)[: bench.size(None, 5)]
    full = probe.observe(watched.trainer.model, min(probe.histogram_steps))
    label = arm_label(config)

    def train() -> None:
        tracker = tracking.Tracker()
        tracker.start(config, f"{label}-{next(keys)}", label)
        for step in looks:
            between()
            if step in evaluations:
                tracker.evaluation(step, values)
            if step in probe.steps:
                tracker.observation(step, full if step in probe.histogram_steps else Observation(values=full.values))
        tracker.ended("finished", looks[-1])
        tracker.finish()

    return train


@contextlib.contextmanager
def _whole_views() -> Iterator[None]:
    """Raise ``RuntimeError`` if the tracker warns meanwhile: a view that breaks off costs too little."""
    warnings: list[str] = []

    def keep(record: LogRecord) -> bool:
        warnings.append(record.getMessage())
        return True

    tracking.log.addFilter(keep)
    try:
        yield
    finally:
        tracking.log.removeFilter(keep)
    if warnings:
        raise RuntimeError(warnings[0])


def _first_start(folder: Path) -> float:
    with subjects.outputs_in(folder):
        seconds = float(subjects.call([sys.executable, "-c", FIRST_START]).split()[-1])
    subjects.require(folder, views=1)
    return seconds
