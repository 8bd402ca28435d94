"""``python scripts/train.py`` as its users call it: refusals, help, sweeps."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import processes
import pytest

SMALL = ["data=digits", "wandb=disabled", "model.hidden=[8]", "batch_size=20", "steps=30", "checkpoint_every_s=0"]


@pytest.fixture
def train(tmp_path: Path, outputs: Path) -> Callable[..., SimpleNamespace]:
    """``train("seed=0,1")``: the command in an empty working folder; its exit code, what it said and left behind."""
    cwd = tmp_path / "cwd"
    cwd.mkdir()

    def call(*arguments: str) -> SimpleNamespace:
        said = processes.call(cwd, "train", *arguments)
        written = sorted(path.name for path in [*cwd.rglob("*"), *outputs.rglob("*")])
        return SimpleNamespace(**vars(said), written=written)

    return call


REFUSED = {
    "unknown key": (["optimizer.learning_rate=1"], ["learning_rate", "optimizer.lr"]),
    "added key": (["+stepz=1"], ["stepz", "steps"]),
    "wrong type": (["steps=many"], ["steps", "many"]),
    "lr 0": (["optimizer.lr=0"], ["optimizer.lr=0", "above 0"]),
    "lr nan": (["optimizer.lr=nan"], ["optimizer.lr=nan", "finite"]),
    "negative steps": (["steps=-1"], ["steps=-1", "at least 0"]),
    "batch of none": (["batch_size=0"], ["batch_size=0", "at least 1"]),
    "batch of too many": (["batch_size=5000"], ["batch_size=5000", "1237 training examples"]),
    "batch of one": (["batch_size=1"], ["batch_size=1: norm=batch has one value", "norm=layer"]),
    "in a sweep, batch of one": (["batch_size=1,2", "norm=layer,reference_batch", "-m"], ["norm=reference_batch"]),
    "placement": (["placement=middle"], ["placement=middle", "before", "after"]),
    "norm": (["norm=nosuch"], ["norm/nosuch", "none", "batch"]),
    "data": (["data=nosuch"], ["data/nosuch", "mnist", "digits"]),
    "experiment": (["experiment=nosuch"], ["experiment/nosuch", "mnist_training"]),
    "no model": (["model=null"], ["model=null", "mlp"]),
    "number of an experiment": (["experiment=1"], ["experiment=1", "mnist_training"]),
    "no key": (["=1"], ["=1", "not an override"]),
    "no worker": (["seed=0,1", "hydra.launcher.n_jobs=0", "-m"], ["hydra.launcher.n_jobs=0", "at least 1"]),
    "no launcher": (["seed=0,1", "hydra/launcher=nosuch", "-m"], ["hydra/launcher/nosuch", "basic"]),
    "sweep without -m": (["seed=0,1"], ["add -m"]),
    "no folder": (["--config-dir", "nowhere"], ["--config-dir nowhere", "no such folder"]),
    "in a sweep": (["optimizer.lr=0.1,-1", "-m"], ["optimizer.lr=-1", "above 0"]),
    "in a sweep, of the data": (["batch_size=20,5000", "-m"], ["batch_size=5000", "1237 training examples"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_one_clear_message_and_nothing_written(train: Callable[..., SimpleNamespace], case: str) -> None:
    arguments, named = REFUSED[case]
    call = train(*SMALL, *arguments)
    assert call.code == 2
    message = call.out + call.err
    assert message.count("error:") == 1
    assert all(text in message for text in named), message
    assert "Traceback" not in message
    assert "HYDRA_FULL_ERROR" not in message
    assert call.written == []


@pytest.mark.parametrize("arguments", [["--help"], ["experiment=mnist_training", "--help"]])
def test_help_explains_the_groups(train: Callable[..., SimpleNamespace], arguments: list[str]) -> None:
    call = train(*arguments)
    assert call.code == 0
    for group, choices in {"model": "mlp", "norm": "none", "data": "digits", "experiment": "mnist_tuning"}.items():
        lines = [line for line in call.out.splitlines() if line.startswith(f"{group}: ")]
        assert any(choices in line for line in lines), f"{group}'s choices are not listed"
        assert any(line.strip().startswith(f"{group} ") for line in call.out.splitlines()), f"{group} is not explained"
    assert "python scripts/train.py -m experiment=mnist_training" in call.out
    assert call.written == []


def test_help_lists_what_works_here_and_says_how_to_see_every_value(train: Callable[..., SimpleNamespace]) -> None:
    call = train("--help")
    assert "measurement:" not in call.out
    assert "schema" not in call.out
    assert "--resolve" in call.out
    call = train("experiment=mnist_training", "--cfg", "job", "--resolve")
    assert "steps: 50000" in call.out
    assert "${" not in call.out


def test_a_sweep_by_hydras_own_mode_and_by_a_glob(train: Callable[..., SimpleNamespace]) -> None:
    call = train(*SMALL, "hydra.mode=MULTIRUN", "norm=glob(none*)", "seed=0,1")
    assert call.code == 0
    assert "2 runs: 0 done, 2 to train" in call.out


@pytest.mark.parametrize("launcher", ["bnrepro", "basic"])
def test_an_outputs_folder_that_cannot_be_written_is_one_line(
    launcher: str, train: Callable[..., SimpleNamespace], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("BNREPRO_OUTPUTS", str(tmp_path / "file" / "outputs"))
    call = train("-m", *SMALL, "seed=0,1", f"hydra/launcher={launcher}")
    assert call.code == 2
    [line] = call.err.splitlines()
    assert line.startswith("error: ")
    assert str(tmp_path / "file" / "outputs") in line
    assert call.written == []


def test_a_launcher_of_hydras_own_writes_into_the_outputs_folder(
    train: Callable[..., SimpleNamespace], outputs: Path, tmp_path: Path
) -> None:
    assert train("-m", *SMALL, "seed=0,1", "hydra/launcher=basic").code == 0
    assert (outputs / "multirun").is_dir()
    assert not list((tmp_path / "cwd").iterdir())


def test_cfg_job_shows_the_configuration_and_trains_nothing(train: Callable[..., SimpleNamespace]) -> None:
    call = train("norm=none", "optimizer.lr=0.25", "--cfg", "job")
    assert call.code == 0
    assert "lr: 0.25" in call.out
    assert "name: none" in call.out
    assert call.written == []


def test_a_run_says_where_it_is_and_the_next_call_skips_it(
    train: Callable[..., SimpleNamespace], outputs: Path, tmp_path: Path
) -> None:
    first, second = train(*SMALL, "norm=none"), train(*SMALL, "norm=none", "placement=after")
    assert (first.code, second.code) == (0, 0)
    assert ": finished" in first.out
    assert "step 30/30" in first.out
    assert ": skipped" in second.out
    assert "step" not in second.out
    assert first.written == second.written
    assert {"DONE", "metrics.csv", "curves.png"} <= set(first.written)
    [picture] = outputs.glob("runs/single/none-s0-*/curves.png")
    assert all(call.out.splitlines()[-1] == f"curves: {picture}" for call in (first, second))
    over = processes.call(tmp_path, "plot", "none-s0", "--out", "one.svg")
    assert (over.code, over.out) == (0, "one.svg\n")
    assert (tmp_path / "one.svg").exists()


def test_a_users_own_layer_in_a_folder_of_their_own(train: Callable[..., SimpleNamespace], tmp_path: Path) -> None:
    (tmp_path / "own" / "norm").mkdir(parents=True)
    (tmp_path / "own" / "norm" / "mine.yaml").write_text("name: mine\n_target_: torch.nn.LayerNorm\n")
    call = train(*SMALL, "norm=mine", "--config-dir", str(tmp_path / "own"))
    assert call.code == 0
    assert "mine-s0-" in call.out
    assert ": finished" in call.out


def test_any_launcher_gives_the_same_tables_byte_for_byte(
    train: Callable[..., SimpleNamespace], tmp_path: Path
) -> None:
    sweep = ["-m", *SMALL, "norm=batch", "seed=0,1", "fleet.enabled=false"]
    assert train(*sweep, "hydra/launcher=basic").code == 0
    # A process of its own, not a forked one: the engine, the default, starts further ones.
    (tmp_path / "elsewhere").mkdir()
    done = subprocess.run(
        [sys.executable, str(processes.TRAIN), *sweep],
        cwd=tmp_path / "elsewhere",
        env={**os.environ, "BNREPRO_OUTPUTS": str(tmp_path / "engine")},
        capture_output=True,
        text=True,
        timeout=processes.TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    assert "2 runs: 0 done, 2 to train" in done.stdout
    assert "last evaluation of every run" in done.stdout
    assert "python scripts/plot.py" in done.stdout.splitlines()[-1]
    assert not list(tmp_path.glob("*/runs/single/*/curves.png"))
    basic, engine = (
        {path.name: (path / "metrics.csv").read_bytes() for path in (tmp_path / name).glob("runs/single/*")}
        for name in ("outputs", "engine")
    )
    assert [name[:9] for name in sorted(basic)] == ["batch-s0-", "batch-s1-"]
    assert basic == engine


def test_a_sweep_finishes_all_runs_but_the_one_that_cannot_be_written(
    train: Callable[..., SimpleNamespace], outputs: Path
) -> None:
    sweep = ["-m", *SMALL, "norm=none", "optimizer.lr=0.1,1", "hydra.launcher.n_jobs=1"]
    assert train(*sweep).code == 0
    one, other = sorted((outputs / "runs" / "single").iterdir())
    assert one.name.startswith("none-lr0.1-s0-")
    assert other.name.startswith("none-lr1-s0-")
    shutil.rmtree(one)
    shutil.rmtree(other)
    one.write_text("a file where a folder should be")
    call = train(*sweep)
    assert call.code == 2
    assert str(one) in call.err
    assert (other / "DONE").exists()
    assert "failed" in call.out


def test_a_folder_of_groups_may_have_any_name(train: Callable[..., SimpleNamespace], tmp_path: Path) -> None:
    """No grammar reads it: neither the shell's, nor Hydra's, nor that of an address."""
    own = tmp_path / "it's a=b,c ñandú (1) [x] ${y} %20 #z"
    (own / "norm").mkdir(parents=True)
    (own / "norm" / "mine.yaml").write_text("name: mine\n_target_: torch.nn.LayerNorm\n")
    sweep = train("--config-dir", str(own), "-m", *SMALL, "norm=mine", "seed=0,1")
    assert sweep.code == 0, sweep.err
    assert "2 runs: 0 done, 2 to train" in sweep.out
    # The message is that of a second composition.
    refused = train("--config-dir", str(own), *SMALL, "norm=mine", "optimizer.learning_rate=1")
    assert refused.code == 2
    assert "optimizer.lr" in refused.err


UNWRITABLE = Path("/proc")
"""As a working folder: not even the superuser can make a file in it."""


@pytest.mark.skipif(not UNWRITABLE.is_dir(), reason="no /proc")
def test_in_a_folder_that_cannot_be_written_and_with_an_unknown_backend_a_run_goes_on_and_is_drawn(
    outputs: Path,
) -> None:
    """In an interpreter of its own, since matplotlib looks for its backend when it is imported."""
    done = subprocess.run(
        [sys.executable, str(processes.TRAIN), *SMALL], cwd=UNWRITABLE, env={**os.environ, "MPLBACKEND": "nonsense"},
        capture_output=True, text=True, timeout=processes.TIMEOUT_S,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    [picture] = outputs.glob("runs/single/*/curves.png")
    assert done.stdout.splitlines()[-1] == f"curves: {picture}"


@pytest.mark.skipif(not UNWRITABLE.is_dir(), reason="no /proc")
@pytest.mark.parametrize("launcher", ["bnrepro", "basic"])
def test_in_a_folder_that_cannot_be_written_a_sweep_goes_on(launcher: str, outputs: Path) -> None:
    call = processes.call(UNWRITABLE, "train", "-m", *SMALL, "seed=0,1", f"hydra/launcher={launcher}")
    assert call.code == 0, call.err
    assert len(list(outputs.glob("runs/single/*/DONE"))) == 2
