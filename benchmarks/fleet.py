"""Many runs as one program against the single loop: run-steps a second, and whole profiles."""

from __future__ import annotations

import functools
import io
import itertools
import statistics
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from benchmarks import subjects
from benchmarks.inception import images_in
from benchmarks.rows import Bench, Bound, Measured, Skipped, row
from bnrepro import data
from bnrepro.config.compose import Composer
from bnrepro.config.schema import Config
from bnrepro.data import Dataset
from bnrepro.measurements.timing import interleave
from bnrepro.runs import engine
from bnrepro.runs.planned import plan
from bnrepro.training.fleet import Block, Seat
from bnrepro.training.loop import Trainer
from bnrepro.training.state import Placed

WIDTHS = {("cpu", "mlp"): 5, ("cpu", "inception"): 5, ("cuda", "mlp"): 100, ("cuda", "inception"): 35}
"""Places of a block. On a CPU 4 to 6 are equally fast, wider ones leave its cache, and most sweeps have five or ten
seeds; on a card, they are the runs of its bounds."""
OTHERS = (
    "batch_noisy", "group", "layer", "reference_batch", "rms", "weight", "batch_renorm", "ghost_batch",
    "filter_response", "dynamic_tanh",
)  # fmt: skip
NO_CUDA = "no CUDA device"
MLP_EXPERIMENTS = (
    "mnist_training", "mnist_training_own_rate", "mnist_tuning", "learning_rate", "init_scale", "dropout", "affine",
    "batch_size", "landscape", "shift",
)  # fmt: skip


@row("fleet-mlp", "MLP of §4.1, a block of runs / the single loop, one core: run-steps/s")
def fleet_mlp(bench: Bench) -> Iterator[Measured]:
    bounds = {"none": Bound("least", 1.3), "batch": Bound("least", 1.4)}
    yield from _mlp(bench, "cpu", bounds)


@row("fleet-norms", "the same with other normalisers: run-steps/s")
def fleet_norms(bench: Bench) -> Iterator[Measured]:
    yield from _mlp(bench, "cpu", dict.fromkeys(OTHERS))


@row("fleet-inception", "small Inception, a block of runs / the single loop, one core: run-steps/s")
def fleet_inception(bench: Bench) -> Iterator[Measured]:
    # Without a bound: the table of engines follows what is measured.
    yield from _inception(bench, "cpu", None)


@row("fleet-suite", "the MLP experiments of the quick profile in fleets / one by one: time")
def fleet_suite(bench: Bench) -> Iterator[Measured]:
    with Composer() as composer:
        here = [] if subjects.has_mnist() else ["data=digits", "data.train_examples=null"]
        profile = bench.size("quick", "smoke")
        configs = [
            config
            for name in bench.size(MLP_EXPERIMENTS, ("mnist_training",))
            for config in composer.sweep([f"experiment={name}", f"profile={profile}", "wandb=disabled", *here])
        ]
    fresh, timings = itertools.count(), bench.clock(waits=True)

    def suite(together: bool) -> None:
        with subjects.outputs_in(bench.folder / f"suite-{next(fresh)}"):
            planned = [plan(config, together=together) for config in configs]
            engine.train_all(planned, None, Console(file=io.StringIO())).require_all()

    for index in range(bench.size(bench.long_rounds, 1)):
        timings.new_round()
        for together in (True, False) if index % 2 == 0 else (False, True):
            timings.time(f"together={together}", lambda together=together: suite(together))
    details = {"runs": len(configs)}
    ratios = timings.ratios("together=True", "together=False")
    yield Measured("all", ratios, "×", Bound("most", 0.8), subjects.on_digits(), details)


@row("fleet-mlp-cuda", "MLP of §4.1 on a card, 100 runs / the single loop: run-steps/s")
def fleet_mlp_cuda(bench: Bench) -> Iterator[Measured]:
    _require_cuda()
    yield from _mlp(bench, "cuda", {"none": None, "batch": Bound("least", 350)})


@row("fleet-inception-cuda", "small Inception on a card, 35 runs / the single loop: run-steps/s")
def fleet_inception_cuda(bench: Bench) -> Iterator[Measured]:
    _require_cuda()
    yield from _inception(bench, "cuda", Bound("least", 25))


@row("fleet-fig1-cuda", "100 seeds of Fig. 1, both arms, on a card, to their tables")
def fleet_fig1_cuda(bench: Bench) -> Iterator[Measured]:
    _require_cuda()
    timings = bench.clock(waits=True)
    overrides = ["seed=range(100)", f"steps={bench.size(50_000, 200)}", "device=cuda", "wandb=disabled"]
    for index in range(bench.size(bench.long_rounds, 1)):
        timings.new_round()
        folder = bench.folder / f"fig1-{index}"
        command = [sys.executable, "scripts/reproduce.py", "--profile", "full", "--experiments", "mnist_training"]
        with subjects.outputs_in(folder):
            timings.time("all", lambda command=command: subjects.call([*command, *overrides]))
        subjects.require(folder, runs=200)
    yield Measured("both", timings.seconds("all"), "s", Bound("most", 120.0))


# ----------------------------------------------------------------------------------------------------- how


def _require_cuda() -> None:
    if not torch.cuda.is_available():
        raise Skipped(NO_CUDA)


def _mlp(bench: Bench, device: str, bounds: Mapping[str, Bound | None]) -> Iterator[Measured]:
    dataset = subjects.dataset(bench.quick)
    configs = {
        norm: replace(subjects.config(norm, "probes.activations.enabled=false"), device=device) for norm in bounds
    }
    yield from _against(bench, configs, bounds, dataset, steps=bench.size(96, 8), note=subjects.data_note())


def _inception(bench: Bench, device: str, bound: Bound | None) -> Iterator[Measured]:
    folder = images_in(bench.folder / "images")
    common = [
        "model=inception", "data=image_folder", f"data.root={folder}", "data.validation_examples=100", "wandb=disabled",
        "batch_size=32", "optimizer.lr=0.01", "optimizer.momentum=0.9", "augmentation.flip=true",
        "augmentation.shift=4", f"device={device}",
    ]  # fmt: skip
    with Composer() as composer:
        configs = {arm: composer.sweep([*common, f"norm={arm}"], single=True)[0] for arm in subjects.ARMS}
    with subjects.outputs_in(bench.folder):
        dataset = data.load(configs["none"].data)
    yield from _against(bench, configs, dict.fromkeys(configs, bound), dataset, steps=bench.size(8, 2))


def _against(
    bench: Bench, configs: Mapping[str, Config], bounds: Mapping[str, Bound | None], dataset: Dataset, *,
    steps: int, note: str = "",
) -> Iterator[Measured]:  # fmt: skip
    """Every arm's block against its single loop, all in turn. A slice of the loop has ``steps`` updates.

    A block takes as many run-steps on a CPU. On a card, where a run of its own is hundreds of times slower, it takes
    as many steps.
    """
    workloads, widths, counts = {}, {}, {}
    for arm, config in configs.items():
        width = widths[arm] = WIDTHS[config.device, config.model.name]
        count = counts[arm] = max(steps // width, 1) if config.device == "cpu" else steps
        trainer = Trainer(config, dataset)
        block = _block(config, dataset, width)
        workloads[f"alone-{arm}"] = functools.partial(_taken, trainer, steps)
        workloads[f"block-{arm}"] = functools.partial(_taken, block, count)
    on_cpu = all(config.device == "cpu" for config in configs.values())
    timings = interleave(workloads, bench.rounds, bench.size(10, 1), bench.clock(processor=on_cpu))
    for arm, config in configs.items():
        more = counts[arm] * widths[arm] / steps
        ratios = [more * ratio for ratio in timings.ratios(f"alone-{arm}", f"block-{arm}")]
        alone = steps / statistics.median(timings.seconds(f"alone-{arm}"))
        details = {
            "device": config.device, "model": config.model.name, "norm": config.norm.get("_target_", "none"),
            "width": widths[arm], "alone_steps_per_second": alone,
        }  # fmt: skip
        yield Measured(arm, ratios, "×", bounds[arm], f"{widths[arm]} runs{'; ' if note else ''}{note}", details)


def _block(config: Config, dataset: Dataset, width: int) -> Block:
    placed = Placed.of(config, dataset)
    seats = [Seat(replace(config, seed=seed), placed) for seed in range(width)]
    block = Block(seats[0], width)
    block.fill(iter(seats), lambda seat: None)
    return block


def _taken(subject: Trainer | Block, steps: int) -> None:
    subject.advance(steps)
    if torch.cuda.is_available():
        torch.cuda.synchronize()


# ------------------------------------------------------------------------------------------ the table of engines

WORTH = 1.05
"""A fleet that is not faster by this much is not worth its memory."""


def write_engines(measured: list[Measured], hardware: str, file: Path) -> list[str]:
    """Write what the rows above found into the table of engines, a line for each network they measured.

    Lines about other devices, networks and normalisers stay. Returns the lines that it wrote.
    """
    lines = [line.split(",") for line in file.read_text(encoding="utf-8").splitlines()]
    header, known = lines[0], {tuple(line[:3]): line for line in lines[1:]}
    written = []
    for found in measured:
        if "width" not in found.details:
            continue
        device, model, target = (str(found.details[name]) for name in ("device", "model", "norm"))
        key = device, model, target.rpartition(".")[2]
        # A card's width is that of the table: its bounds are about other numbers of runs.
        width = str(found.details["width"]) if device == "cpu" else known.get(key, known[device, model, "*"])[3]
        line = [*key, width if found.value >= WORTH else "1", f"{found.value:.2f}", hardware]
        known[key] = line
        written.append(",".join(line))
    file.write_text("\n".join(",".join(line) for line in (header, *known.values())) + "\n", encoding="utf-8")
    return written
