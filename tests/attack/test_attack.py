"""Some of what `make attack` does by the hundred: struck at one moment, a command leaves nothing half, and the next
call mends all."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from attack import subjects, trial
from attack.starts import Forked
from attack.subjects import SUBJECTS
from attack.trial import Strike

STRIKES = {
    "train": (("group", signal.SIGKILL, 0.5), ("group", signal.SIGINT, 0.3)),
    "sweep": (("worker", signal.SIGKILL, 0.5), ("parent", signal.SIGKILL, 0.4)),
    "measure": (("group", signal.SIGKILL, 0.7),),
    "tabulate": (("group", signal.SIGKILL, 0.6),),
    "restore": (("group", signal.SIGKILL, 0.5),),
    "report": (("group", signal.SIGKILL, 0.9),),
}
"""By the share of the command's operations on files."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    subjects.prepare(folder, Forked)
    return folder


@pytest.mark.spawned
def test_the_next_call_mends_what_a_kill_left(base: Path, tmp_path: Path) -> None:
    found = {}
    for name, struck in STRIKES.items():
        subject = SUBJECTS[name]
        expected = trial.undisturbed(subject, base, tmp_path / "trial", Forked)
        assert expected.files, name
        for whom, number, share in struck:
            operations = expected.of_workers if whom == "worker" else expected.operations
            assert operations > 3, name
            strike = Strike(whom, number, 1 + int(share * operations))
            code, wrong = trial.faults(subject, strike, expected, base, tmp_path / "trial", Forked)
            assert code != "not hit", f"{name}: {strike} found nothing to strike"
            found[f"{name}: {strike}"] = wrong
    assert {strike: wrong for strike, wrong in found.items() if wrong} == {}


def test_what_a_trial_looks_for(tmp_path: Path) -> None:
    """A comparison that misses nothing but the times."""
    subject, folder = SUBJECTS["train"], tmp_path / "trial"
    folder.mkdir()
    for name, text in (
        ("metrics.csv", "1\n"), ("meta.json", '"seconds": 1.5, "step": 3'), ("x.timing.csv", "2\n"), ("lock", ""),
    ):  # fmt: skip
        (folder / name).write_text(text)
    before = subjects.settled(subject, folder)
    (folder / "meta.json").write_text('"seconds": 7.5, "step": 3')
    (folder / "x.timing.csv").write_text("3\n")
    assert subjects.settled(subject, folder) == before
    assert "lock" not in before
    for name, text in (("metrics.csv", "2\n"), ("meta.json", '"seconds": 1.5, "step": 4'), (".x.part", "")):
        was = (folder / name).read_text() if (folder / name).exists() else None
        (folder / name).write_text(text)
        assert subjects.settled(subject, folder) != before, name
        if was is not None:
            (folder / name).write_text(was)
