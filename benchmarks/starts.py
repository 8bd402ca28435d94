"""A user's waits besides training: the start of ``scripts/train.py``, and an additional short run of a sweep.

Times whole processes, each with its own folder of outputs. Each runs once untimed before, so that its files are cached.
Every second round calls the processes in reverse order.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

from benchmarks import subjects
from benchmarks.rows import Bench, Bound, Measured, row
from bnrepro import data
from bnrepro.config.compose import Composer
from bnrepro.measurements.timing import Timings
from bnrepro.training.loop import Trainer

STEPS, RUNS = 20, 20
TRAIN = ("scripts/train.py",)
SHORT = ("data=digits", f"steps={STEPS}")
TORCH = "import torch"
VIEWS = {"wandb=disabled": 0, "wandb=offline": 1}
"""The number of W&B views of a run."""
REPEATS = 10


@row("start", f"a whole call of scripts/train.py; a run has {STEPS} steps on digits")
def start(bench: Bench) -> Iterator[Measured]:
    bounds, refused = {"wandb=disabled": 2.0, "wandb=offline": 3.0}, "optimizer.lrr=1"
    processes = Processes(bench)
    workloads = {TORCH: processes.call("-c", TORCH)}
    for mode, views in VIEWS.items():
        workloads[mode] = processes.call(*TRAIN, *SHORT, mode, runs=1, views=views)
    workloads["--help"] = processes.call(*TRAIN, "--help")
    workloads["--cfg job"] = processes.call(*TRAIN, "--cfg", "job")
    workloads[refused] = processes.call(*TRAIN, refused, code=2)
    timings = in_turn(workloads, bench)
    for mode, bound in bounds.items():
        whole, floor = timings.seconds(mode), timings.seconds(TORCH)
        beyond = [process - alone for process, alone in zip(whole, floor, strict=True)]
        details = {"process_seconds": whole, "import_torch_seconds": floor}
        yield Measured(mode, beyond, "s", Bound("most", bound), f"a run, less the time of `{TORCH}` alone", details)
    for arm, note in {"--help": "", "--cfg job": "", refused: "a key that is refused: exit code 2"}.items():
        yield Measured(arm, timings.seconds(arm), "s", Bound("most", 2.0), note)


@row("short-runs", f"an additional run of {STEPS} steps in a sweep of {RUNS}, less its steps and evaluations")
def short_runs(bench: Bench) -> Iterator[Measured]:
    bounds, runs = {"wandb=disabled": 0.15, "wandb=offline": 0.5}, bench.size(RUNS, 3)
    processes, workloads = Processes(bench), {"training": training_alone()}
    sweep = (*TRAIN, "-m", *SHORT, "hydra.launcher.n_jobs=1")
    for mode, views in VIEWS.items():
        workloads[f"one, {mode}"] = processes.call(*sweep, mode, "seed=0", runs=1, views=views)
        workloads[f"many, {mode}"] = processes.call(*sweep, mode, f"seed=range({runs})", runs=runs, views=runs * views)
    timings = in_turn(workloads, bench)
    training = [seconds / REPEATS for seconds in timings.seconds("training")]
    for mode, bound in bounds.items():
        many, one = timings.seconds(f"many, {mode}"), timings.seconds(f"one, {mode}")
        details = {"runs": runs, "many_seconds": many, "one_seconds": one, "training_seconds": training}
        yield Measured(mode, beyond_training(many, one, training, runs - 1), "s", Bound("most", bound), details=details)


def beyond_training(
    many: Sequence[float], one: Sequence[float], training: Sequence[float], further: int
) -> list[float]:
    """Per round, the time that each of the ``further`` runs adds to a sweep, less the ``training`` of a run."""
    return [(all_runs - first) / further - own for all_runs, first, own in zip(many, one, training, strict=True)]


def training_alone() -> Callable[[], None]:
    """Takes the steps and evaluations of a short run in this process, ``REPEATS`` times."""
    with Composer() as composer:
        [config] = composer.sweep([*SHORT, "seed=0", "wandb=disabled"], single=True)
    trainer = Trainer(config, data.load(config.data))

    def train() -> None:
        for _ in range(REPEATS):
            trainer.advance(STEPS)
            for _ in trainer.evaluations:
                trainer.evaluate(1)

    return train


# ---------------------------------------------------------------------------------------------------- processes


class Processes:
    """Processes of this interpreter, each with a new folder of outputs."""

    def __init__(self, bench: Bench) -> None:
        self._folders = (bench.folder / f"process-{number}" for number in itertools.count())

    def call(self, *arguments: str, code: int = 0, runs: int = 0, views: int = 0) -> Callable[[], None]:
        """A whole process, checked for its exit code and for the number of runs and views that it leaves."""

        def process() -> None:
            with subjects.outputs_in(next(self._folders)) as outputs:
                subjects.call([sys.executable, *arguments], code)
            subjects.require(outputs, runs, views)

        return process


def in_turn(workloads: Mapping[str, Callable[[], None]], bench: Bench) -> Timings:
    """Time every workload once per round, after an untimed call of each."""
    timings, names = bench.clock(waits=True), list(workloads)
    if not bench.quick:
        for name in names:
            workloads[name]()
    for index in range(bench.rounds):
        timings.new_round()
        for name in names[:: 1 if index % 2 == 0 else -1]:
            timings.time(name, workloads[name])
    return timings
