"""A finished run by what a user calls it: its folder, or the beginning of its name or key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bnrepro import store
from bnrepro.errors import StoreError

NAMES = ("single/batch-s0-61539900", "single/batch-s1-6e5d4200", "single/none-s0-a4e84800", "other/none-s0-a4e84800")


@pytest.fixture(autouse=True)
def runs(outputs: Path) -> Path:
    for name in NAMES:
        (outputs / "runs" / name).mkdir(parents=True)
        (outputs / "runs" / name / "DONE").touch()
    (outputs / "runs" / "single" / "layer-s0-ffffffff").mkdir()
    return outputs / "runs"


@pytest.mark.parametrize(
    ("text", "name"),
    [("batch-s0", NAMES[0]), ("6e5d", NAMES[1]), ("61539900", NAMES[0]), ("6153990012345678", NAMES[0]),
     ("batch-s1-6e5d4200", NAMES[1])],
)  # fmt: skip
def test_a_beginning_that_only_one_has(text: str, name: str, runs: Path) -> None:
    assert store.found_run(text).path == runs / name


def test_a_folder_wherever_it_lies(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = (runs / NAMES[0]).rename(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    for text in (str(moved), "elsewhere", f"elsewhere{os.sep}"):
        assert store.found_run(text).path.resolve() == moved


def test_two_experiments_that_share_a_run_are_no_doubt() -> None:
    assert store.found_run("none-s0").name == "none-s0-a4e84800"


@pytest.mark.parametrize(
    ("text", "message"),
    [("batch", "several runs: batch-s0-61539900, batch-s1-6e5d4200; give more"), ("6", "several runs"),
     ("", "several runs"), ("nope", "no finished run is called nope"), ("layer-s0", "no finished run is called layer"),
     ("61539900zz", "no finished run")],
)  # fmt: skip
def test_none_or_several_are_refused(text: str, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        store.found_run(text)


def test_a_name_that_no_disk_can_hold_is_no_run() -> None:
    with pytest.raises(StoreError, match="no finished run is called"):
        store.found_run("x" * 5000)
