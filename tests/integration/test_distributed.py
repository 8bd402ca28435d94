"""Several processes train one network: the same as one where it should be, resumed bit for bit, written once."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import processes
import pytest
import torch
from PIL import Image

from bnrepro import data, store
from bnrepro.config.schema import DataConfig

COMMON = (
    "data=digits", "wandb=disabled", "model.hidden=[12,8]", "batch_size=20", "steps=30", "optimizer.momentum=0.9",
    "evaluation.min_interval=5",
)  # fmt: skip
DIES_AT = 4
"""The checkpoint at which a training is killed: it goes on from the one before, that of step 15."""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture
def together(tmp_path: Path) -> Callable[..., list[Any]]:
    """``together("a", 2, "norm=none")``: two processes that train one network, its run in the folder ``a``."""

    def begin(folder: str, world: int, *overrides: str, dies_at: int = 0) -> list[Any]:
        outputs = tmp_path / folder
        outputs.mkdir(exist_ok=True)
        port = free_port()
        rest = (world, port, [*COMMON, *overrides], str(outputs), str(outputs / "said"), dies_at)
        return [processes.start(processes.rank, number, *rest) for number in range(world)]

    return begin


def trained(tmp_path: Path, folder: str, started: list[Any]) -> pd.DataFrame:
    """The metrics of the one run that ``started`` have written."""
    assert [processes.wait(process) for process in started] == [0] * len(started)
    [done] = (tmp_path / folder).glob("runs/*/*/DONE")
    return pd.read_csv(done.parent / "metrics.csv")


@pytest.fixture
def killed(tmp_path: Path, together: Callable[..., list[Any]]) -> Callable[..., str]:
    """``killed("a", 2, "norm=none")``: the name of the run that was left unfinished in the folder ``a``."""

    def die(folder: str, world: int, *overrides: str) -> str:
        leader, *others = together(folder, world, *overrides, dies_at=DIES_AT)
        assert processes.wait(leader) == -signal.SIGKILL
        for process in others:
            process.kill()
            process.join()
        [left] = (tmp_path / folder).glob("runs/*/*/checkpoint.pt")
        assert not list((tmp_path / folder).glob("runs/*/*/DONE"))
        return left.parent.name

    return die


def assert_close(one: pd.DataFrame, other: pd.DataFrame, tolerance: float) -> None:
    keys = ["step", "examples", "split", "metric"]
    pd.testing.assert_frame_equal(one[keys], other[keys])
    np.testing.assert_allclose(one["value"], other["value"], rtol=tolerance)


def test_two_processes_train_as_one(tmp_path: Path, together: Callable[..., list[Any]]) -> None:
    """Without Batch Normalization the mean of both parts' gradients is that of the mini-batch: augmented alike, too."""
    overrides = ("norm=none", "precision=float64", "optimizer.lr=0.3", "augmentation.flip=true", "augmentation.shift=2")
    one = trained(tmp_path, "one", together("one", 1, *overrides))
    two = trained(tmp_path, "two", together("two", 2, *overrides))
    assert_close(one, two, 2e-6)  # the tables have six digits
    assert one["value"].nunique() > 20


def test_each_process_normalises_by_its_own_part(tmp_path: Path, together: Callable[..., list[Any]]) -> None:
    one = trained(tmp_path, "one", together("one", 1, "norm=batch"))
    two = trained(tmp_path, "two", together("two", 2, "norm=batch"))
    losses = [frame.query("split == 'train' and metric == 'loss'")["value"].to_numpy() for frame in (one, two)]
    assert not np.allclose(*losses, rtol=1e-3)
    assert np.allclose(*losses, rtol=0.3)  # the same weights and the same examples all the same


def test_a_resumed_training_of_two_is_the_undisturbed_one_bit_for_bit(
    tmp_path: Path, together: Callable[..., list[Any]], killed: Callable[..., str]
) -> None:
    overrides = ("norm=batch", "model.dropout=0.3", "steps=60", "checkpoint_every_s=1e-9")
    undisturbed = trained(tmp_path, "a", together("a", 2, *overrides))
    name = killed("b", 2, *overrides)
    resumed = trained(tmp_path, "b", together("b", 2, *overrides))
    pd.testing.assert_frame_equal(undisturbed, resumed, check_exact=True)
    said = [(tmp_path / "b" / f"said-{rank}.out").read_text() for rank in (0, 1)]
    assert f"{name}: continues at step 15" in said[0]
    assert not said[1]  # one speaks for both


def test_a_resumed_training_of_three_has_the_undisturbed_ones_weights(
    tmp_path: Path, together: Callable[..., list[Any]], killed: Callable[..., str]
) -> None:
    """Of two summands the order is nothing, of three it is: the gradients must be added up in the same order."""
    overrides = ("norm=batch", "batch_size=21", "steps=60", "checkpoint_every_s=1e-9", "keep_weights=true")
    trained(tmp_path, "a", together("a", 3, *overrides))
    killed("b", 3, *overrides)
    trained(tmp_path, "b", together("b", 3, *overrides))
    one, other = (
        torch.load(next((tmp_path / name).glob("runs/*/*/weights.pt")), weights_only=True) for name in ("a", "b")
    )
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_second_call_waits_and_skips(
    tmp_path: Path, together: Callable[..., list[Any]], killed: Callable[..., str]
) -> None:
    overrides = ("norm=batch", "checkpoint_every_s=1e-9")
    name = killed("a", 2, *overrides)
    [path] = (tmp_path / "a").glob(f"runs/*/{name}")
    said = tmp_path / "a" / "said-0.out"
    with store.RunFolder(path).lock() as lock:
        assert lock.take()
        second = together("a", 2, *overrides)
        deadline = time.monotonic() + processes.TIMEOUT_S
        while not said.exists() or "waiting: another process" not in said.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(1.5)  # it asks more than once
        assert all(process.is_alive() for process in second)
        record = store.RunRecord(
            run=name, key=name[-8:] + "0" * 8, experiment="single", arm="batch", seed=0, status="finished",
            last_step=30, data="made up", fingerprint="0" * 16, config={}, versions={}, machine={},
            seconds=1.0, finished=1.0,
        )  # fmt: skip
        store.RunFolder(path).finish(record, {})
    assert [processes.wait(process) for process in second] == [0, 0]
    assert said.read_text().count("waiting: another process") == 1
    assert "skipped" in said.read_text()


def test_an_error_of_one_process_alone_is_said_and_ends_it(tmp_path: Path, together: Callable[..., list[Any]]) -> None:
    """It must not wait for the others, which wait for it."""
    for part, name, index in itertools.product(("train", "val"), "ab", range(6)):
        path = tmp_path / "photos" / part / name / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)
    config = DataConfig("image_folder", root=str(tmp_path / "photos"), stream=True, validation_examples=2)
    train = data.open_dataset(config).train
    path = Path(train.files.path(int(train.positions[5])))
    path.write_bytes(b"not an image")
    # One mini-batch is an epoch: the image is in the part of one process. Neither tries the network out on it.
    started = together(
        "a", 2, "data=image_folder", f"data.root={tmp_path / 'photos'}", "data.stream=true", "data.image_size=8",
        "data.standardize=false", "data.validation_examples=2", "data.workers=0", "batch_size=10", "steps=1",
        "evaluation.min_interval=1",
    )  # fmt: skip
    deadline = time.monotonic() + processes.TIMEOUT_S
    while all(process.is_alive() for process in started):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(2)
    for process in started:  # as torchrun does
        if process.is_alive():
            os.kill(process.pid, signal.SIGTERM)
        process.join()
    said = [(tmp_path / "a" / f"said-{rank}.err").read_text() for rank in (0, 1)]
    assert sorted(text.count(f"{path.name} cannot be read as an image") for text in said) == [0, 1]
    assert not any("Traceback" in text for text in said if path.name in text)


def test_what_the_leader_alone_finds_wrong_is_said_once(tmp_path: Path, together: Callable[..., list[Any]]) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "runs").write_text("a file where a folder should be")
    started = together("a", 2, "norm=batch")
    assert [processes.wait(process) for process in started] == [2, 2]
    said = [(tmp_path / "a" / f"said-{rank}.err").read_text() for rank in (0, 1)]
    assert "cannot write" in said[0]
    assert not said[1]


def test_torchrun_trains_on_a_streamed_folder_as_one_process_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = np.random.default_rng(0)
    for part, count in (("train", 24), ("val", 6)):
        for name in "abc":
            folder = tmp_path / "photos" / part / name
            folder.mkdir(parents=True)
            for index in range(count):
                height, width = draw.integers(20, 40, 2)
                pixels = draw.integers(0, 255, (height, width, 3), np.uint8) // 2 + 40 * "abc".index(name)
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}.png")
    overrides = [
        "model=inception", "model.units=[1]", "model.blocks=[1]", "model.stem=4", "norm=none", "data=image_folder",
        f"data.root={tmp_path / 'photos'}", "data.stream=true", "data.image_size=16", "data.validation_examples=12",
        "data.workers=1", "augmentation.flip=true", "batch_size=8", "steps=6", "optimizer.lr=0.05", "wandb=disabled",
        "evaluation.min_interval=3",
    ]  # fmt: skip
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={free_port()}"]

    def one() -> None:
        assert processes.call(tmp_path, "train", *overrides).code == 0

    def two() -> None:
        subprocess.run([sys.executable, *torchrun, processes.TRAIN, *overrides], check=True, capture_output=True)

    found = []
    for train in (one, two):
        monkeypatch.setenv("BNREPRO_OUTPUTS", str(tmp_path / train.__name__))
        train()
        [done] = (tmp_path / train.__name__).glob("runs/*/*/DONE")
        found.append(pd.read_csv(done.parent / "metrics.csv"))
    assert_close(*found, 1e-3)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("batch_size=15",), "2 processes cannot share it evenly"),
        (("-m",), "leave out -m"),
        (("probes.shift.enabled=true",), "with one process only"),
    ],
)
def test_what_several_processes_cannot_do_is_refused_once(
    tmp_path: Path, together: Callable[..., list[Any]], arguments: tuple[str, ...], expected: str
) -> None:
    assert [processes.wait(process) for process in together("a", 2, *arguments)] == [2, 2]
    said = [(tmp_path / "a" / f"said-{rank}.err").read_text() for rank in (0, 1)]
    assert expected in said[0]
    assert not said[1]
    assert not list((tmp_path / "a").glob("runs/*/*"))


def test_a_number_of_processes_that_nobody_started_is_refused(
    tmp_path: Path, together: Callable[..., list[Any]]
) -> None:
    [alone] = together("a", 1, "processes=2")
    assert processes.wait(alone) == 2
    assert "torchrun --nproc-per-node=2" in (tmp_path / "a" / "said-0.err").read_text()
