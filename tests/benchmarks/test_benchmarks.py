"""The benchmark measures what it says: its arithmetic on a clock of our own, its registry, its table and its JSON.
No test asserts a time."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks.registry import ROWS, Bench, Bound, Measured, Row, Skipped, row  # isort: skip
from benchmarks import plans, runner, subjects
from rich.console import Console

from bnrepro import store
from bnrepro.errors import ConfigError
from bnrepro.measurements.timing import Timings, interleave
from bnrepro.runs import run


class Clock:
    """Stands still but for what the workloads add."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def taking(self, *seconds: float):
        durations = itertools.cycle(seconds)

        def work() -> None:
            self.now += next(durations)

        return work


def measured(rows: list[Row], rounds: int = 1) -> runner.Benchmark:
    return runner.measure(rows, rounds, quick=True, console=Console(file=io.StringIO()))


def text_of(benchmark: runner.Benchmark) -> str:
    console = Console(file=io.StringIO(), width=140)
    console.print(runner.table(benchmark))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


# ----------------------------------------------------------------------------------------------------- protocol


def test_a_slow_slice_does_not_move_the_ratio() -> None:
    clock = Clock()
    # The first call of each is the untimed one; one of its three timed slices then takes 50 s.
    workloads = {"ours": clock.taking(9, 2, 50, 2), "theirs": clock.taking(9, 6, 6, 6)}
    timings = interleave(workloads, rounds=1, slices=3, timings=Timings(clock, clock))
    assert timings.seconds("ours") == [2]
    assert timings.ratios("theirs", "ours") == [3]
    assert timings.totals("ours") == [54]


def test_ratios_are_formed_within_rounds() -> None:
    clock = Clock()
    # The machine is ten times slower in the second round, for both.
    workloads = {"ours": clock.taking(1, 2, 20), "theirs": clock.taking(1, 4, 40)}
    timings = interleave(workloads, rounds=2, slices=1, timings=Timings(clock, clock))
    assert timings.seconds("theirs") == [4, 40]
    assert timings.ratios("theirs", "ours") == [2, 2]


def test_slices_go_forwards_and_backwards_in_turn() -> None:
    called: list[str] = []
    workloads = {name: lambda name=name: called.append(name) for name in "abc"}
    interleave(workloads, rounds=1, slices=2)
    assert "".join(called) == "abc" + "abc" + "cba"


def test_the_share_of_a_core_is_recorded() -> None:
    wall, cpu = Clock(), Clock()
    timings = Timings(wall, cpu)
    timings.new_round()
    timings.time("half", lambda: (wall.taking(2)(), cpu.taking(1)()))
    assert timings.cpu_seconds / timings.wall_seconds == 0.5


def test_the_value_is_the_median_over_rounds() -> None:
    found = Measured("batch", [0.9, 5.0, 1.0], "×", Bound("least", 0.97))
    assert found.value == 1.0
    assert found.met
    assert not Bound("most", 0.97).met(found.value)
    assert Measured("batch", [1.0], "×").met is None


# ----------------------------------------------------------------------------------------------------- registry


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> dict[str, Row]:
    """An empty registry; what a test adds to it is gone afterwards."""
    monkeypatch.setattr("benchmarks.rows.ROWS", {})
    from benchmarks import rows

    return rows.ROWS


def test_every_bound_of_the_design_has_its_row() -> None:
    assert list(ROWS) == [
        "usual-loop", "eager-loop", "matrix-products", "probes", "landscape-probe", "shift-probe", "logging",
        "checkpoints", "parallel-sweep", "second-reproduce", "peak-memory", "busy-cores", "thousand-runs",
        "reference-layer", "inception-loop", "convolutions", "fleet-mlp", "fleet-norms", "fleet-inception",
        "fleet-suite", "fleet-mlp-cuda", "fleet-inception-cuda", "fleet-fig1-cuda", "start", "short-runs",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["fleet-mlp-cuda", "fleet-inception-cuda", "fleet-fig1-cuda"])
def test_without_a_card_its_rows_say_so(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    benchmark = measured(runner.chosen([name]))
    assert "skipped: no CUDA device" in text_of(benchmark)


def test_the_share_that_was_training_comes_from_the_runs_own_records() -> None:
    def trained(seconds: float, finished: float) -> store.RunRecord:
        return store.RunRecord(
            run="a", key="a", experiment="single", arm="none", seed=0, status="finished", last_step=1, data="",
            fingerprint="", config={}, versions={}, machine={}, seconds=seconds, finished=finished,
        )  # fmt: skip

    # One core trains from 0 to 10, the other from 0 to 4 and from 5 to 9.
    assert plans.busy([trained(10, 10), trained(4, 4), trained(4, 9)], 2) == pytest.approx(18 / 20)


def test_a_made_up_run_is_read_as_a_finished_one(outputs: Path) -> None:
    config = subjects.config("none", "data=digits")
    plans.fabricate(config)
    record, files = run.plan(config).folder.read()
    assert (record.status, record.last_step) == ("finished", config.steps)
    assert set(files) == {"metrics.csv", "config.yaml"}


def test_one_function_is_a_row(registry: dict[str, Row]) -> None:
    @row("mine", "this / that")
    def mine(bench: Bench) -> Iterator[Measured]:
        yield Measured("all", [2.0] * bench.rounds, "×", Bound("least", 3.0))

    benchmark = measured(list(registry.values()), rounds=2)
    assert "2 × (2 – 2)" in text_of(benchmark)
    assert "no" in text_of(benchmark)
    with pytest.raises(ValueError, match="two rows are named mine"):
        row("mine", "again")(mine)


def test_rows_are_chosen_by_name() -> None:
    assert [item.name for item in runner.chosen(["checkpoints", "eager-loop"])] == ["eager-loop", "checkpoints"]
    assert len(runner.chosen([])) == len(ROWS)
    with pytest.raises(ConfigError, match=r"no row eager: choose from .*eager-loop"):
        runner.chosen(["eager"])


def test_a_row_that_cannot_be_measured_says_why_and_stops_no_other(registry: dict[str, Row]) -> None:
    folders: list[Path] = []

    @row("impossible", "nothing")
    def impossible(bench: Bench) -> Iterator[Measured]:
        raise Skipped("no such data")

    @row("broken", "nothing")
    def broken(bench: Bench) -> Iterator[Measured]:
        (bench.folder / "left.txt").write_text("behind", encoding="utf-8")
        folders.append(bench.folder)
        yield Measured("all", [1.0], "s")
        raise RuntimeError("out of luck")

    @row("fine", "one")
    def fine(bench: Bench) -> Iterator[Measured]:
        yield Measured("all", [1.0], "s")

    benchmark = measured(list(registry.values()))
    assert [(bool(item.skipped), bool(item.failed), len(item.measured)) for item in benchmark.results] == [
        (True, False, 0),
        (False, True, 0),
        (False, False, 1),
    ]
    shown = text_of(benchmark)
    assert "skipped: no such data" in shown
    assert "out of luck" in shown
    assert not folders[0].exists()


# --------------------------------------------------------------------------------------------------- real rows


def test_a_real_row_gives_its_table_and_its_json(
    tmp_path: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subjects, "has_mnist", lambda: False)
    benchmark = measured(runner.chosen(["matrix-products", "usual-loop"]), rounds=2)
    runner.write(benchmark, tmp_path / "benchmark.json")
    found = json.loads((tmp_path / "benchmark.json").read_text(encoding="utf-8"))
    assert set(found) == {
        "hardware", "versions", "finished", "rounds", "quick", "running", "load", "rows",
    }  # fmt: skip
    assert {"hardware", "cores", "platform"} <= set(found["hardware"])
    assert {"python", "torch", "torchvision", "commit"} <= set(found["versions"])
    skipped, *lines = found["rows"]
    assert skipped["row"] == "usual-loop"
    assert "MNIST not found" in skipped["skipped"]
    assert [line["arm"] for line in lines] == ["none", "batch"]
    for line in lines:
        assert line["low"] <= line["value"] <= line["high"]
        assert len(line["rounds"]) == 2
        assert line["bound"]["kind"] == "most"
        assert isinstance(line["met"], bool)
        assert "random" in line["note"]
    assert "matrix-products" in text_of(benchmark)
    assert not outputs.exists()


@pytest.mark.parametrize("name", ["landscape", "shift"])
def test_a_probe_s_share_is_that_of_all_its_points_in_the_run_that_the_row_names(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subjects, "has_mnist", lambda: False)
    config = subjects.config("batch", experiment=name)
    assert f"{config.steps:,} steps" in ROWS[f"{name}-probe"].compared
    [result] = measured(runner.chosen([f"{name}-probe"])).results
    assert [each.arm for each in result.measured] == ["none", "none", "batch", "batch"]
    for share, steps in zip(result.measured[::2], result.measured[1::2], strict=True):
        assert (share.unit, steps.unit, share.bound) == ("%", "×", None)
        assert f"{share.details['points']} points" in ROWS[f"{name}-probe"].compared
        [point], [whole] = share.details["seconds_a_point"], share.details["whole_seconds"]
        assert share.value == pytest.approx(100 * share.details["points"] * point / whole)
        # The run is its steps and its evaluations: a step takes less than the run's 10,000th part.
        assert steps.value > config.steps * point / whole


@pytest.mark.parametrize("arm", subjects.ARMS)
def test_the_plain_network_is_ours(arm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subjects, "has_mnist", lambda: False)
    trainer = subjects.trainer(arm, quick=True)
    plain = subjects.plain_network(trainer)
    images = trainer.train_set.images[: subjects.BATCH_SIZE]
    with torch.inference_mode():
        assert torch.equal(plain(images.flatten(1)), trainer.model(images))


def test_outputs_are_put_back(tmp_path: Path, outputs: Path) -> None:
    with subjects.outputs_in(tmp_path / "elsewhere"):
        assert store.outputs_folder() == tmp_path / "elsewhere"
    assert store.outputs_folder() == outputs
