"""W&B is a view: it shows what happened, and whatever it does, the training goes on and is the same."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bnrepro.config.schema import Config
from bnrepro.runs import run
from bnrepro.training import tracking

SMALL = ("data=digits", "checkpoint_every_s=0", "model.hidden=[12,8]", "batch_size=20", "steps=40")
ARM = ("norm=batch", "probes.activations.enabled=true", "probes.activations.examples=50")
AT_FINISH = -1


class FakeRun:
    """Takes what it is told; ``fails_at`` is the number of the log call that raises, or AT_FINISH."""

    def __init__(self, fails_at: int | None = None, error: Exception | None = None) -> None:
        self.logged: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self.fails_at, self.error, self.finished = fails_at, error or RuntimeError("service died\nlong story"), 0

    def define_metric(self, *_: Any, **__: Any) -> None:
        pass

    def log(self, values: dict[str, Any]) -> None:
        if self.fails_at not in (None, AT_FINISH) and len(self.logged) >= self.fails_at:
            raise self.error
        self.logged.append(values)

    def finish(self) -> None:
        self.finished += 1
        if self.fails_at == AT_FINISH:
            raise self.error


@pytest.fixture(autouse=True)
def _a_process_without_views(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking.Tracker, "hangs", False)
    for name in ("WANDB_MODE", "WANDB_DISABLED"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def init(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], list[dict[str, Any]]]:
    """Puts ``wandb.init`` out of the way; returns the list of how it was called."""

    def replace(behaviour: Callable[..., Any]) -> list[dict[str, Any]]:
        import wandb

        calls: list[dict[str, Any]] = []
        monkeypatch.setattr(wandb, "init", lambda **kwargs: calls.append(kwargs) or behaviour(**kwargs))
        return calls

    return replace


def csv(planned: run.Planned) -> dict[str, bytes]:
    return {name: content for name, content in planned.folder.read()[1].items() if name.endswith(".csv")}


def train(config: Config) -> run.Planned:
    planned = run.plan(config)
    assert run.execute(planned) == "finished"
    return planned


def refuse(**_: Any) -> None:
    raise TimeoutError("no network\nand more")


def test_disabled_is_not_even_imported(small: Callable[..., Config], init: Callable) -> None:
    calls = init(refuse)
    train(small(*ARM))
    assert calls == []


def test_each_run_is_named_after_what_it_is(small: Callable[..., Config], init: Callable) -> None:
    fake = FakeRun()
    calls = init(lambda **_: fake)
    planned = train(small(*ARM, "wandb=offline", "seed=3"))
    [call] = calls
    assert (call["group"], call["name"], call["id"]) == ("single", "batch-s3", planned.key)
    assert (call["job_type"], call["tags"]) == ("batch", ["full"])
    assert call["mode"] == "offline"
    assert call["config"]["optimizer"]["lr"] == 0.5
    assert call["config"]["norm"]["name"] == "batch"
    evaluations = [values for values in fake.logged if "test/loss" in values]
    assert [values["step"] for values in evaluations] == [0, 10, 20, 30, 40]
    assert set(evaluations[-1]) == {"step", "train/loss"} | {
        f"{split}/{metric}" for split in ("validation", "test") for metric in ("loss", "accuracy")
    }
    shown = [values for values in fake.logged if "activations/hidden.1.output" in values]
    assert [values["step"] for values in shown] == [0, 10, 20, 30, 40]
    assert sum(shown[0]["activations/hidden.1.output"].histogram) == 50 * 8
    curve = [values["inputs/first_p50"] for values in fake.logged if "inputs/first_p50" in values]
    table = [line.split(",") for line in planned.folder.read()[1]["activations.csv"].decode().splitlines()]
    running = [
        float(unit)
        for _, statistics, percentile, unit, *_ in table[1:]
        if (statistics, percentile) == ("running", "50")
    ]
    assert curve == pytest.approx(running, rel=1e-3)
    assert fake.summary == {"status": "finished", "last_step": 40}
    assert fake.finished == 1


def test_the_runs_of_a_sweep_are_told_apart_by_what_it_varies(small: Callable[..., Config], init: Callable) -> None:
    calls = init(lambda **_: FakeRun())
    for rate in ("0.1", "1"):
        run.execute(run.plan(small("norm=batch", "wandb=offline", f"optimizer.lr={rate}"), f"lr{rate}"))
    assert [call["name"] for call in calls] == ["batch-lr0.1-s0", "batch-lr1-s0"]
    assert {call["job_type"] for call in calls} == {"batch"}


def test_online_falls_back_to_offline_with_a_warning(
    small: Callable[..., Config], init: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    fake = FakeRun()
    calls = init(lambda mode, **_: fake if mode == "offline" else refuse())
    train(small(*ARM, "wandb=online"))
    assert [call["mode"] for call in calls] == ["online", "offline"]
    assert all(call["settings"].init_timeout <= 20 for call in calls)
    assert fake.logged
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.getMessage() == "W&B online could not start (no network)"


def test_the_parts_of_an_interrupted_run_are_noted_as_one(small: Callable[..., Config], init: Callable) -> None:
    calls = init(lambda **_: FakeRun())
    planned = run.plan(small(*ARM, "wandb=offline", "checkpoint_every_s=1e-9"))

    def stop(report: run.Report) -> None:
        if report.step == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.execute(planned, stop)
    run.execute(planned)
    assert [(call["id"], call["resume"]) for call in calls] == [(planned.key, None), (planned.key, "allow")]


@pytest.mark.parametrize(("mode", "tries"), [("online", 2), ("offline", 1)])
def test_without_any_service_training_goes_on_and_is_the_same(
    small: Callable[..., Config],
    init: Callable,
    mode: str,
    tries: int,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = csv(train(small(*ARM)))
    calls = init(refuse)
    monkeypatch.setenv("BNREPRO_OUTPUTS", str(tmp_path / "again"))
    assert csv(train(small(*ARM, f"wandb={mode}"))) == plain
    assert len(calls) == tries
    assert caplog.text.count("could not start") == tries


@pytest.mark.parametrize("fails_at", [0, 3, AT_FINISH])
@pytest.mark.parametrize("error", [RuntimeError("service died\nlong story"), BrokenPipeError(), KeyError("x")])
def test_a_dying_service_ends_the_view_once_and_not_the_training(
    small: Callable[..., Config],
    init: Callable,
    fails_at: int,
    error: Exception,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = csv(train(small(*ARM)))
    init(lambda **_: FakeRun(fails_at, error))
    monkeypatch.setenv("BNREPRO_OUTPUTS", str(tmp_path / "again"))
    assert csv(train(small(*ARM, "wandb=offline"))) == plain
    assert caplog.text.count("W&B stopped answering") == 1
    assert "long story" not in caplog.text


def test_a_wandb_that_cannot_be_imported_is_done_without(
    small: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    train(small(*ARM, "wandb=online"))
    assert "W&B is not usable" in caplog.text


def test_an_offline_run_reads_back_what_was_trained(
    small: Callable[..., Config], outputs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    monkeypatch.setattr(tracking, "INIT_TIMEOUT_S", 60)
    planned = train(small(*ARM, "wandb=offline", "seed=3"))
    [log] = outputs.glob("wandb/offline-run-*/*.wandb")
    assert planned.key in log.name
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(log)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if found.returncode != 0:
        pytest.skip(f"this wandb has no `leet inspect`: {found.stderr.strip()[:100]}")
    records = [json.loads(line) for line in found.stdout.splitlines() if line.startswith("{")]
    text = found.stdout
    for expected in (planned.key, '"single"', '"batch-s3"', tracking.PROJECT):
        assert expected in text
    history = [record for record in records if record.get("type") == "history"]
    assert len(history) >= 5
    for key in ("test/loss", "validation/accuracy", "train/loss", "activations/hidden.0.input", "histogram"):
        assert any(key in json.dumps(record) for record in history), key
    last = [line.split(",") for line in planned.folder.read()[1]["metrics.csv"].decode().splitlines()][-1]
    assert last[2:4] == ["test", "loss"]
    assert any(f"{float(last[4]):.4g}"[:5] in json.dumps(record) for record in history)


def test_the_run_is_done_before_its_view_ends(small: Callable[..., Config], init: Callable) -> None:
    planned, seen = run.plan(small(*ARM, "wandb=offline")), []

    class Watching(FakeRun):
        def finish(self) -> None:
            seen.append(planned.folder.is_done())

    init(lambda **_: Watching())
    assert run.execute(planned) == "finished"
    assert seen == [True]


def test_a_view_that_hangs_is_left_behind(
    small: Callable[..., Config], init: Callable, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    let_go = threading.Event()

    class Hanging(FakeRun):
        def finish(self) -> None:
            let_go.wait(60)

    calls = init(lambda **_: Hanging())
    monkeypatch.setattr(tracking, "FINISH_TIMEOUT_S", 0.05)
    planned = train(small(*ARM, "wandb=offline"))
    assert not let_go.is_set()
    assert planned.folder.is_done()
    [line] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "W&B does not answer" in line
    train(small(*ARM, "wandb=offline", "seed=1"))
    assert len(calls) == 1, "the next run would wait as long for its view"
    let_go.set()


def test_a_view_that_has_not_started_is_left_behind_as_soon(
    small: Callable[..., Config], init: Callable, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    let_go = threading.Event()

    def never(**_: Any) -> None:
        let_go.wait(60)
        raise TimeoutError

    init(never)
    monkeypatch.setattr(tracking, "FINISH_TIMEOUT_S", 0.05)
    assert train(small(*ARM, "wandb=online")).folder.is_done()
    let_go.set()
    for thread in threading.enumerate():
        if thread.name == tracking.THREAD:
            thread.join(5)
    assert caplog.text.count("W&B") == 1, "what was left behind has no more to say"


def test_a_finished_run_gives_a_view_that_never_answers_five_seconds_at_most(
    small: Callable[..., Config], init: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the end of the view nor that of W&B's service answers, and no wait of the run is without an end."""
    import wandb

    let_go, answered, asked, join = threading.Event(), threading.Event(), [], threading.Thread.join

    def silent() -> None:
        let_go.wait(60)
        answered.set()

    def waits(thread: threading.Thread, timeout: float | None = None) -> None:
        asked.append(timeout)
        join(thread, 0)

    fake = FakeRun()
    monkeypatch.setattr(fake, "finish", silent)
    monkeypatch.setattr(wandb, "teardown", silent)
    init(lambda **_: fake)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "join", waits)
        planned = train(small(*ARM, "wandb=offline"))
    assert not answered.is_set()
    assert planned.folder.is_done()
    assert len(asked) == 2
    assert None not in asked
    assert sum(asked) <= 5
    views = [thread for thread in threading.enumerate() if thread.name == tracking.THREAD]
    let_go.set()
    for thread in views:
        thread.join()


@pytest.mark.parametrize(
    ("variables", "configured", "mode"),
    [
        ({"WANDB_MODE": "disabled"}, "online", None),
        ({"WANDB_DISABLED": "true"}, "offline", None),
        ({"WANDB_MODE": "offline"}, "online", "offline"),
        ({"WANDB_MODE": "online"}, "offline", "offline"),
        ({"WANDB_MODE": "online"}, "disabled", None),
        ({"WANDB_DISABLED": "false", "WANDB_MODE": ""}, "offline", "offline"),
    ],
)
def test_wandbs_own_variables_can_ask_for_less(
    variables: dict[str, str],
    configured: str,
    mode: str | None,
    small: Callable[..., Config],
    init: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = init(lambda **_: FakeRun())
    key = run.plan(small(*ARM, f"wandb={configured}")).key
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert train(small(*ARM, f"wandb={configured}")).key == key
    assert [call["mode"] for call in calls] == ([] if mode is None else [mode])


@pytest.mark.parametrize("home", [None, "/dev/null/nobody"])
def test_without_a_home_the_service_keeps_its_log_in_the_outputs(
    home: str | None, monkeypatch: pytest.MonkeyPatch, outputs: Path, small: Callable[..., Config], init: Callable
) -> None:
    init(lambda **_: FakeRun())
    # Restored after the test; unset until then.
    monkeypatch.setenv("WANDB_CACHE_DIR", "")
    for name in ("WANDB_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    if home is not None:
        monkeypatch.setenv("HOME", home)
    train(small(*ARM, "wandb=offline"))
    assert os.environ["WANDB_CACHE_DIR"] == str(outputs / "wandb" / "cache")


SIGNALLED = """
import os, signal, sys, time
from pathlib import Path

from bnrepro.config.compose import Composer
from bnrepro.runs import run
from bnrepro.training import tracking

tracking.INIT_TIMEOUT_S, tracking.FINISH_TIMEOUT_S = 60, 1

def service():
    for children in Path("/proc/self/task").glob("*/children"):
        for pid in children.read_text().split():
            if "wandb-core" in Path(f"/proc/{pid}/comm").read_text():
                return int(pid)

def hit(report):
    deadline = time.monotonic() + 60
    while report.step == 20 and time.monotonic() < deadline:
        if pid := service():
            hits.append(pid)
            return os.kill(pid, getattr(signal, name))
        time.sleep(0.01)

with Composer() as composer:
    for seed, name in enumerate(("SIGKILL", "SIGSTOP")):
        hits = []
        [config] = composer.sweep([*sys.argv[1:], f"seed={seed}"], single=True)
        print(run.execute(run.plan(config), hit), len(hits))
os.kill(hits[0], signal.SIGKILL)
"""


@pytest.mark.spawned
def test_a_killed_and_a_stopped_service_hold_neither_a_run_nor_the_end_of_the_process() -> None:
    command = [sys.executable, "-c", SIGNALLED, *SMALL, *ARM, "wandb=offline"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (found.returncode, found.stdout) == (0, "finished 1\nfinished 1\n"), found.stderr
    killed, stopped = found.stderr.splitlines()
    assert killed.startswith("W&B ")
    assert stopped == "W&B does not answer; the run ends without it"
