"""Finished runs on W&B, from their tables: what a live view would have shown, after the training and beside it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bnrepro.config.schema import Config
from bnrepro.runs import engine, run
from bnrepro.runs.planned import Planned, plan
from bnrepro.training import tracking
from bnrepro.training.replay import Views

PROBED = ("norm=batch", "probes.activations.enabled=true", "probes.activations.examples=50")


class Shown:
    """A W&B run that keeps what it is told."""

    def __init__(self) -> None:
        self.logged: dict[int, dict[str, Any]] = {}
        self.summary: dict[str, Any] = {}
        self.finished = 0

    def define_metric(self, *_: Any, **__: Any) -> None:
        pass

    def log(self, values: dict[str, Any]) -> None:
        self.logged.setdefault(values["step"], {}).update(values)

    def finish(self) -> None:
        self.finished += 1


@pytest.fixture
def views(monkeypatch: pytest.MonkeyPatch) -> dict[str, Shown]:
    """What W&B shows, by the name of the run."""
    import wandb

    found: dict[str, Shown] = {}
    monkeypatch.setattr(tracking.Tracker, "hangs", False)
    for name in ("WANDB_MODE", "WANDB_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(wandb, "init", lambda **given: found.setdefault(given["id"], Shown()))
    return found


def shown(planned: Planned) -> None:
    with Views() as views:
        views.show(planned)


def plain(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: (list(value.histogram), list(value.bins)) if hasattr(value, "bins") else value
        for name, value in values.items()
    }


def test_a_finished_run_is_shown_as_a_live_one(small: Callable[..., Config], views: dict[str, Shown]) -> None:
    planned = plan(small(*PROBED, "wandb=offline"))
    run.execute(planned)
    live = views.pop(planned.key)
    shown(planned)
    again = views[planned.key]
    assert again.logged.keys() == live.logged.keys()
    for step, values in live.logged.items():
        mine, its = plain(again.logged[step]), plain(values)
        assert mine.keys() == its.keys()
        for name, value in its.items():
            if isinstance(value, tuple):
                assert mine[name][0] == value[0]
                assert np.allclose(mine[name][1], value[1], atol=1e-5)
            else:
                assert mine[name] == pytest.approx(value, rel=2e-3), name
    assert again.summary == live.summary == {"status": "finished", "last_step": 40}
    assert again.finished == 1


def test_the_runs_of_a_sweep_are_shown_when_they_are_finished(
    sweep: Callable[..., list[Config]], views: dict[str, Shown]
) -> None:
    planned = engine.plan([(config, "") for config in sweep("norm=none,layer", "seed=0,1", "wandb=offline")])
    engine.train_all(planned, jobs=2)
    assert views.keys() == {item.key for item in planned}
    assert all(view.finished == 1 and len(view.logged) == 5 for view in views.values())


def test_an_interrupted_sweep_waits_for_no_view(
    small: Callable[..., Config], views: dict[str, Shown], monkeypatch: pytest.MonkeyPatch
) -> None:
    planned, stays = plan(small("norm=none", "wandb=offline")), threading.Event()
    run.execute(planned, live=False)
    monkeypatch.setattr(Shown, "finish", lambda self: stays.wait(20))
    monkeypatch.setattr(tracking, "LET_GO_S", 0.01)

    def interrupted() -> None:
        with Views() as open_views:
            open_views.show(planned)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    stays.set()


def test_a_view_that_does_not_answer_is_left(
    small: Callable[..., Config], views: dict[str, Shown], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    planned, stays = plan(small("norm=none", "wandb=offline")), threading.Event()
    run.execute(planned, live=False)
    monkeypatch.setattr(Shown, "finish", lambda self: stays.wait(20))
    monkeypatch.setattr(tracking, "FINISH_TIMEOUT_S", 0.2)
    monkeypatch.setattr(tracking, "LET_GO_S", 0.01)
    shown(planned)
    stays.set()
    assert [record.getMessage() for record in caplog.records] == ["W&B does not answer; the runs end without it"]
    assert tracking.Tracker.hangs


def test_a_run_that_cannot_be_shown_is_told_and_the_next_is_shown(
    sweep: Callable[..., list[Config]], views: dict[str, Shown], caplog: pytest.LogCaptureFixture
) -> None:
    first, second = (plan(config) for config in sweep("norm=none", "seed=0,1", "wandb=offline"))
    for item in (first, second):
        run.execute(item, live=False)
    (first.folder.path / "metrics.csv").write_text("changed")
    with Views() as open_views:
        open_views.show(first)
        open_views.show(second)
    assert list(views) == [second.key]
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert f"W&B does not show {first.folder.name}" in record.getMessage()


def test_disabled_starts_nothing(small: Callable[..., Config], views: dict[str, Shown]) -> None:
    planned = plan(small("norm=none", "wandb=disabled"))
    run.execute(planned)
    shown(planned)
    assert not views
