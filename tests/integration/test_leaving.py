"""How scripts end: one line and an exit code, whatever ends them and whenever it does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import processes
import pytest

from bnrepro import door, store
from bnrepro.errors import ConfigError, Interrupted
from bnrepro.store import workers
from bnrepro.store.locks import Lock


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    hook = sys.unraisablehook
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    sys.unraisablehook = hook
    door._asked.clear()


@pytest.fixture
def left(capsys: pytest.CaptureFixture[str]) -> Callable[[Callable[[], None]], tuple[object, str]]:
    """``left(main)``: the exit code of the door, and what it said."""

    def call(main: Callable[[], None]) -> tuple[object, str]:
        with pytest.raises(SystemExit) as ended:
            door.door(main)
        return ended.value.code, capsys.readouterr().err

    return call


def fails() -> None:
    raise KeyError("nobody expected\nthis")


@pytest.mark.parametrize("where", ["outputs", "temporary", "nowhere"])
def test_an_unexpected_exception_is_one_line_that_names_its_traceback(
    where: str, left: Callable[..., tuple[object, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "outputs" / "errors"
    if where != "outputs":
        monkeypatch.setenv("BNREPRO_OUTPUTS", str(tmp_path / "file" / "outputs"))
        folder = tmp_path / "temporary"
        monkeypatch.setattr(tempfile, "tempdir", str(folder if where == "temporary" else tmp_path / "file"))
    code, said = left(fails)
    assert code == 1
    assert said.startswith("error: KeyError: 'nobody expected")
    if where == "nowhere":
        assert "in fails" in said
        return
    assert len(said.splitlines()) == 1
    [kept] = folder.iterdir()
    assert str(kept) in said
    assert "in fails" in kept.read_text()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_request_to_stop_is_one_even_where_a_library_makes_another_error_of_it(
    how: signal.Signals, left: Callable[..., tuple[object, str]]
) -> None:
    def imports() -> None:
        try:
            signal.raise_signal(how)
        except KeyboardInterrupt:
            raise ImportError("cannot import") from None

    assert left(lambda: signal.raise_signal(how)) == (130, f"{door.STOPPED}\n")
    assert left(imports) == (130, f"{door.STOPPED}\n")


def test_the_next_call_of_the_door_knows_nothing_of_an_earlier_stop(left: Callable[..., tuple[object, str]]) -> None:
    left(lambda: signal.raise_signal(signal.SIGINT))
    assert left(fails)[0] == 1


def test_where_it_was_stopped_is_said_by_whoever_knows(left: Callable[..., tuple[object, str]]) -> None:
    def main() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise Interrupted("stopped with 3 of 8 runs done") from None

    assert left(main) == (130, "stopped with 3 of 8 runs done\n")


def test_a_stop_inside_a_destructor_ends_the_process(
    left: Callable[..., tuple[object, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dying:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    _, said = left(lambda: Dying().__del__ and None)
    assert codes == [130]
    assert said.startswith(door.STOPPED)
    assert "Traceback" not in said


def test_what_another_process_has_said_is_not_said_again(left: Callable[..., tuple[object, str]]) -> None:
    def main() -> None:
        error = ConfigError("no")
        error.told = True
        raise error

    assert left(main) == (2, "")


def test_processes_of_torchrun_end_on_its_signal_at_once(
    left: Callable[..., tuple[object, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    handlers: list[object] = []
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    left(lambda: handlers.append(signal.getsignal(signal.SIGTERM)))
    assert handlers == [signal.SIG_DFL]


# --------------------------------------------------------------------------------- as a user meets it: real scripts

STOPS_AT = """
import runpy, signal, sys
class Stops:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Stops())
sys.argv = [{script!r}, *{arguments!r}]
runpy.{run}
"""


@pytest.mark.parametrize(
    ("script", "module", "arguments"),
    [
        ("report", "argparse", []),
        ("report", "pandas._libs", []),
        ("train", "hydra", ["seed=1"]),
        ("train", "hydra.core.override_parser.overrides_visitor", ["seed=1"]),
        ("measure", "torch._C", ["measurement=scale_invariance"]),
        ("benchmarks", "numpy", []),
    ],
)
def test_ctrl_c_in_the_middle_of_an_import_is_one_line(script: str, module: str, arguments: list[str]) -> None:
    path = str(processes.SCRIPTS / f"{script}.py")
    run = "run_module('benchmarks', run_name='__main__', alter_sys=True)"
    if script != "benchmarks":
        run = f"run_path({path!r}, run_name='__main__')"
    code = STOPS_AT.format(script=path, module=module, arguments=arguments, run=run)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=store.REPOSITORY
    )
    assert done.returncode == 130, done.stderr
    assert done.stderr == f"{door.STOPPED}\n"


def blocked(task: object, emit: object) -> list[int]:
    """The signals that never reach this worker, and never did: the mask is that of its birth."""
    return sorted(signal.pthread_sigmask(signal.SIG_BLOCK, []))


@pytest.mark.spawned
def test_workers_never_see_ctrl_c_not_even_while_they_start() -> None:
    [event] = [event for event in workers.side_by_side(blocked, [None], 1) if event.kind == "result"]
    assert signal.SIGINT in event.value
    assert signal.SIGTERM not in event.value
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_terminated_sweep_of_hydra_ends_its_workers(tmp_path: Path, outputs: Path) -> None:
    arguments = [
        "-m", "data=digits", "wandb=disabled", "model.hidden=[12,8]", "steps=1000000", "norm=none", "seed=0,1",
        "checkpoint_every_s=0.05", "hydra.launcher.n_jobs=1",
    ]  # fmt: skip
    sweep = processes.start(processes.script, "train", arguments, str(tmp_path), str(tmp_path / "said"))
    try:
        deadline = time.monotonic() + processes.TIMEOUT_S
        while not list(outputs.glob("runs/single/*/checkpoint.pt")):
            assert sweep.is_alive(), (tmp_path / "said.err").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(sweep.pid, signal.SIGTERM)
        assert processes.wait(sweep) == 130
    finally:
        sweep.kill()
    assert (tmp_path / "said.err").read_text() == "stopped with 0 of 2 runs done; the same call goes on from here\n"
    held = list(outputs.glob("runs/single/*/lock"))
    assert len(held) == 2
    for file in held:
        with Lock(file.parent) as lock:
            assert lock.take(), "a worker lives on"
