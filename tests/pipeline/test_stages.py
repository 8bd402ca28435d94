"""What is seen when: Fig. 1 first, every verdict as its experiment ends, measurements of times alone."""

from __future__ import annotations

import io
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from bnrepro.config.compose import experiments, measurements
from bnrepro.config.schedule import evaluations
from bnrepro.config.schema import Config
from bnrepro.errors import ConfigError, Interrupted
from bnrepro.pipeline import stages
from bnrepro.pipeline.reproduce import Request, reproduce
from bnrepro.report import drawing
from bnrepro.runs.course import Chore

TINY = ("data=digits", "model.hidden=[12,8]", "wandb=disabled", "steps=60", "seed=0,1")
MOST = 12
"""Evaluations of a quick run, each of which costs as much as hundreds of its steps."""


class Screen(io.StringIO):
    """What is printed; Ctrl-C is pressed when the words ``stop_at`` appear."""

    def __init__(self, stop_at: str = "\0") -> None:
        super().__init__()
        self.stop_at = stop_at

    def write(self, text: str) -> int:
        if self.stop_at in text:
            raise KeyboardInterrupt
        return super().write(text)


def shown(*only: str, screen: Screen | None = None, jobs: int = 1, **asked: object) -> tuple[list[str], Path]:
    """The lines of a call, and the folder of its results."""
    screen = screen or Screen()
    request = Request("smoke", only=only, overrides=TINY, jobs=jobs, **asked)  # type: ignore[arg-type]
    folder = reproduce(request, Console(file=screen, width=200))
    return screen.getvalue().splitlines(), folder


def place(lines: list[str], words: str) -> int:
    """Of the first line with these words."""
    return next(number for number, line in enumerate(lines) if words in line)


def test_fig_1_is_seen_before_another_run_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    here: list[set[str]] = []  # what this process publishes, not one of its workers
    publish = stages.Publication.__call__
    monkeypatch.setattr(stages.Publication, "__call__", lambda self: here.append({*self.runs}) or publish(self))
    lines, folder = shown("affine", "mnist_training", "scale_invariance")
    seen = place(lines, "Fig. 1 of the paper: ")
    assert seen < place(lines, "] affine/")
    assert seen < place(lines, "scale_invariance: ")
    assert place(lines, "4 runs: 0 done, 4 to train") < place(lines, "8 runs: ") < seen
    named = lines[seen].removeprefix("Fig. 1 of the paper: ").partition(" and ")[0]
    assert Path(named).resolve().parent == (folder / "figures").resolve()
    assert Path(named).name == "mnist_training_accuracy.png"
    assert "mnist_training" in here[0]


def test_a_verdict_is_said_once_and_as_soon_as_its_experiment_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "REFRESH_SHARE", 1.0)
    written: list[stages.Published] = []
    hear = stages.Stages._hear
    monkeypatch.setattr(stages.Stages, "_hear", lambda self, it, said: written.append(said) or hear(self, it, said))
    lines, folder = shown("affine", "dropout", "scale_invariance", "step_cost")
    for slug in ("affine_needed", "regularizes", "scale_invariance", "step_cost"):
        assert sum(line.startswith(f"  {slug}: ") for line in lines) == 1
    # In the order of the report.
    assert place(lines, "  regularizes: ") < place(lines, "] affine/")
    assert place(lines, "  scale_invariance: ✔ supported (") < place(lines, "measuring step_cost")
    assert place(lines, "dropout: ") < place(lines, "affine: ")
    assert len(written) >= 3  # what ends while the one before is published is published together
    assert all(said.seconds is not None for said in written)
    assert (folder / "REPORT.md").exists()


def test_the_report_is_refreshed_no_oftener_than_its_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "REFRESH_SHARE", -1.0)
    written: list[stages.Published] = []
    hear = stages.Stages._hear
    monkeypatch.setattr(stages.Stages, "_hear", lambda self, it, said: written.append(said) or hear(self, it, said))
    lines, _ = shown("affine", "scale_invariance")
    assert written
    assert all(said.seconds is None for said in written)
    assert place(lines, "  affine_needed: ") < place(lines, "REPORT.md")


def test_measurements_of_times_run_alone_and_say_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    beside: dict[str, int] = {}
    make = stages.measure._measure

    def watched(item: stages.Measurement) -> object:
        beside[item.name] = len(multiprocessing.active_children())
        return make(item)

    monkeypatch.setattr(stages.measure, "_measure", watched)
    lines, _ = shown("affine", "scale_invariance", "step_cost", "gradient_estimate", jobs=2)
    # The others run in the workers, where nothing is watched.
    assert beside == {"step_cost": 0, "gradient_estimate": 0}
    first, second = (place(lines, f"measuring {name}, with nothing beside it") for name in beside)
    assert place(lines, "measuring scale_invariance") < first
    assert place(lines, "  affine_needed: ") < first
    assert "(1 of 2): about 2 s, about 5 s for all that are left" in lines[min(first, second)]
    assert lines[max(first, second)].endswith("(2 of 2): about 3 s")


def test_a_measurement_that_failed_has_no_tables(tmp_path: Path) -> None:
    plan: Any = SimpleNamespace(request=Request("smoke"), runs={}, measurements=[], results=tmp_path)
    found = stages.Stages(plan, Console(file=io.StringIO()))
    found.measured["ensemble"] = plan  # which has no folder that could be read
    found.made(Chore("measuring ensemble", print), ConfigError("too few networks"))
    assert not found.measured


def test_which_measurements_time_something_is_known_and_how_long_all_take() -> None:
    assert set(stages.TIMED) < set(measurements())
    assert set(stages.durations()) == {
        (name, profile) for name in measurements() for profile in ("smoke", "quick", "full")
    }
    assert all(seconds > 0 for seconds in stages.durations().values())


@pytest.mark.parametrize("words", ["Fig. 1 of the paper: ", "  affine_needed: ", "measuring step_cost"])
def test_a_call_that_is_stopped_keeps_what_it_has_published(
    words: str, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = ("affine", "mnist_training", "scale_invariance", "step_cost")
    with pytest.raises((Interrupted, KeyboardInterrupt)):
        shown(*only, screen=Screen(words))
    [folder] = outputs.glob("smoke-*")
    assert (folder / "figures" / "mnist_training_accuracy.png").exists()
    finished = {path: path.stat().st_mtime_ns for path in outputs.glob("runs/*/*/DONE")}
    assert len(finished) >= 4
    drawn: list[str] = []
    draw = drawing.draw
    monkeypatch.setattr(
        drawing, "draw", lambda results, names, **how: drawn.extend(names) or draw(results, names, **how)
    )
    lines, again = shown(*only)
    assert again == folder
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert "mnist_training" not in drawn
    assert any("affine_needed" in line and "│" in line for line in lines)
    assert {path.name.partition(".")[0] for path in (folder / "tables").glob("*.csv*")} == set(only)


def test_no_quick_run_is_evaluated_often(composed: Callable[..., list[Config]]) -> None:
    counts = {
        (name, profile): max(
            len(evaluations(config.steps, config.evaluation))
            for config in composed(f"experiment={name}", f"profile={profile}")
        )
        for name in experiments()
        for profile in ("quick", "smoke")
    }
    assert {key: count for key, count in counts.items() if count > MOST} == {}
    assert counts["mnist_training", "quick"] > 5  # "final" is the mean of five of them
