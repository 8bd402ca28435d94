"""Many runs: how busy a mixed sweep keeps the cores; the time and memory to tabulate a thousand finished runs."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from omegaconf import OmegaConf
from rich.console import Console

from benchmarks import subjects
from benchmarks.rows import Bench, Bound, Measured, Skipped, row
from bnrepro import tables
from bnrepro.config.compose import Composer
from bnrepro.config.identity import arm_label, scientific
from bnrepro.config.schema import Config
from bnrepro.runs import engine, provenance, run
from bnrepro.store import RunRecord
from bnrepro.training.state import METRICS_HEADER

CORES = 2
LENGTHS = (400, 1600, 6400)
"""Steps of the mixed sweep's runs. The longest has sixteen times those of the shortest."""
MANY = 1000
EVALUATIONS = 24
TABULATE = """
import sys
from pathlib import Path
from bnrepro import store, tables
tables.write_experiment("learning_rate", store.runs_of("learning_rate"), Path(sys.argv[1]))
"""


@row("busy-cores", f"a sweep of runs of {', '.join(map(str, LENGTHS))} steps: training time / {CORES} cores' time")
def busy_cores(bench: Bench) -> Iterator[Measured]:
    if (os.cpu_count() or 1) < CORES:
        raise Skipped(f"needs {CORES} cores")
    lengths = bench.size(LENGTHS, (20, 40, 80))
    shares = []
    for index in range(bench.long_rounds):
        with subjects.outputs_in(bench.folder / f"busy-{index}"), Composer() as composer:
            configs = [
                config
                for steps in lengths
                for config in composer.sweep(
                    ["experiment=mnist_training", f"data={_data()}", "seed=0,1,2", f"steps={steps}"]
                )
            ]
            planned = [run.plan(config) for config in configs]
            engine.train_all(planned, CORES, Console(file=io.StringIO()))
            shares.append(100 * busy([item.folder.read()[0] for item in planned], CORES))
    yield Measured("both", shares, "%", Bound("least", 90.0), subjects.on_digits(), {"runs": len(configs)})


def busy(runs: Sequence[RunRecord], cores: int) -> float:
    """The share of the cores' time spent training, from the first start to the last end, by the runs' own records."""
    first, last = min(run.finished - run.seconds for run in runs), max(run.finished for run in runs)
    return sum(run.seconds for run in runs) / (cores * (last - first))


@row("thousand-runs", f"planning, skipping and tabulating {MANY} finished runs")
def thousand_runs(bench: Bench) -> Iterator[Measured]:
    many = bench.size(MANY, 20)
    folder = bench.folder / "thousand"
    overrides = ["experiment=learning_rate", f"data={_data()}", "norm=none,batch"]
    with subjects.outputs_in(folder), Composer() as composer:
        # Fabricated once: the plan of half as many runs finds half of them.
        sweep = [*overrides, "placement=before", "model.activation=sigmoid", "optimizer.lr=0.1"]
        for config in composer.sweep([*sweep, f"seed=range({many // 2})"]):
            fabricate(config)
    timings = bench.clock()
    for _ in range(bench.rounds):
        timings.new_round()
        for count in (many // 2, many):
            timings.time(
                str(count), lambda count=count: _skip_and_tabulate(folder, [*sweep, f"seed=range({count // 2})"], count)
            )
    growth = timings.ratios(str(many), str(many // 2))
    yield Measured("all", timings.seconds(str(many)), "s", Bound("most", 5.0), subjects.on_digits())
    yield Measured("all", growth, "×", Bound("most", 2.4), f"{many} runs / {many // 2}: 2 is linear growth")
    with subjects.outputs_in(folder):
        command = [sys.executable, "-c", TABULATE, str(folder / "results")]
        peaks = [subjects.peak_memory(command) for _ in range(bench.rounds)]
    yield Measured("all", peaks, "MB", Bound("most", 500.0), "peak memory of a process that tabulates them")


def _skip_and_tabulate(folder: Path, overrides: list[str], count: int) -> None:
    """Does what reproduce does with runs that are all finished."""
    with subjects.outputs_in(folder), Composer() as composer:
        planned = [run.plan(config) for config in composer.sweep(overrides)]
        outcome = engine.train_all(planned, CORES, Console(file=io.StringIO()))
        if outcome.counts != {"skipped": count}:
            raise RuntimeError(f"{count} runs should have been skipped: {outcome.counts}")
        tables.write_experiment("learning_rate", [item.folder for item in planned], folder / "results")


def fabricate(config: Config) -> None:
    """Write a finished run of ``config`` with made-up numbers, as large as a real one."""
    planned = run.plan(config)
    steps = [round(config.steps * index / EVALUATIONS) for index in range(EVALUATIONS + 1)]
    lines = [
        f"{step},{step * config.batch_size},{kind},0.5"
        for step in steps
        for kind in ("train,loss", "validation,loss", "validation,accuracy", "test,loss", "test,accuracy")
    ]
    record = RunRecord(
        run=planned.folder.name, key=planned.key, experiment=config.experiment, arm=arm_label(config),
        seed=config.seed, status="finished", last_step=config.steps, data="made up", fingerprint="0" * 16,
        config=scientific(config), versions=provenance.versions(), machine=provenance.machine("cpu"), seconds=1.0,
        finished=1.0,
    )  # fmt: skip
    planned.folder.path.mkdir(parents=True, exist_ok=True)
    planned.folder.finish(
        record,
        {
            "metrics.csv": "\n".join([METRICS_HEADER, *lines, ""]),
            "config.yaml": OmegaConf.to_yaml(OmegaConf.structured(config)),
        },
    )


def _data() -> str:
    return "mnist" if subjects.has_mnist() else "digits"
