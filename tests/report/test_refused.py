"""Whoever reads tables refuses what does not fit, with exit code 2 and the table's name, and overwrites nothing."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fabricated import finish, publish, vouch
from rich.console import Console

from bnrepro import store, tables
from bnrepro.config.schema import Config
from bnrepro.errors import StoreError
from bnrepro.pipeline import restore, verify
from bnrepro.report import comparison, drawing, markdown
from bnrepro.tables import Results

STEPS = [0, 20, 40]
DOORS: dict[str, Callable[[Path], object]] = {
    "report": lambda folder: markdown.write_report(Results(folder), "smoke"),
    "figures": lambda folder: drawing.draw(Results(folder), ["mnist_training"]),
    "reproduce": lambda folder: markdown.publish(folder, profile="smoke"),
    "verify": lambda folder: verify.verify_all(folder, None, Console(file=io.StringIO())),
    "restore": lambda folder: restore.restore_all(folder, "smoke", Console(file=io.StringIO())),
    "compare": lambda folder: comparison.write_reports(folder, "smoke", {"batch": folder}),
}


@pytest.fixture(scope="module")
def whole(sweep: Callable[..., list[Config]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with runs, a measurement, a comparison and their report. No test writes there."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BNREPRO_OUTPUTS", str(folder / "outputs"))
        curves = {"test/accuracy": lambda seed, step: 0.5 + step / 200, "train/loss": lambda seed, step: 2 - step / 100}
        for config in sweep("experiment=mnist_training", "norm=none,batch", "seed=0,1", "keep_weights=false"):
            finish(config, curves, STEPS)
        publish("mnist_training", folder)
    for table in (store.REPOSITORY / "results" / "tables").glob("bias_redundant.*"):
        shutil.copy(table, folder / "tables")
    vouch(folder)
    markdown.write_report(Results(folder), "smoke")
    comparison.write_reports(folder, "smoke", {"batch": folder})
    return folder


@pytest.fixture
def published(whole: Path, tmp_path: Path, outputs: Path) -> Path:
    """The test's own copy."""
    shutil.copytree(whole / "outputs", outputs)
    return Path(shutil.copytree(whole, tmp_path / "published", ignore=shutil.ignore_patterns("outputs")))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def edit(name: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(change((folder / name).read_text())) and None


DAMAGE: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a number": ("mnist_training.csv", edit("mnist_training.csv", lambda text: text.replace(",0.7\n", ",0.8\n"))),
    "a blank status": (
        "mnist_training.runs.csv",
        edit("mnist_training.runs.csv", lambda text: text.replace(",finished,", ",,", 1)),
    ),
    "a table gone": ("mnist_training.csv", lambda folder: (folder / "mnist_training.csv").unlink()),
    "a measurement gone": ("bias_redundant.csv", lambda folder: (folder / "bias_redundant.csv").unlink()),
    "a verdict": ("comparison.csv", edit("comparison.csv", lambda text: text.replace(",not run,", ",supported,", 1))),
    "the digests": ("bias_redundant.csv", lambda folder: (folder / "SHA256SUMS").unlink()),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_every_door_refuses_and_overwrites_nothing(published: Path, damage: str, outputs: Path) -> None:
    shutil.rmtree(outputs)
    named, harm = DAMAGE[damage]
    harm(published / "tables")
    before = contents(published)
    for name, door in DOORS.items():
        with pytest.raises(StoreError, match=rf"{re.escape(named)} .*git checkout.*make reproduce"):
            door(published)
        assert contents(published) == before, name


@pytest.mark.parametrize("damage", ["a blank status", "a table gone", "a measurement gone"])
def test_so_they_do_with_digests_that_fit(published: Path, damage: str, outputs: Path) -> None:
    named, harm = DAMAGE[damage]
    shutil.rmtree(outputs)
    harm(published / "tables")
    vouch(published)
    before = contents(published)
    for name, door in DOORS.items():
        with pytest.raises(StoreError, match=rf"{re.escape(named)}.*git checkout.*make reproduce"):
            door(published)
        assert contents(published) == before, name


def test_a_damaged_comparison_is_refused_before_the_report_is_written(published: Path) -> None:
    edit("comparison.csv", lambda text: text.replace(",not run,", ",lost,", 1))(published / "tables")
    vouch(published)
    before = contents(published)
    with pytest.raises(StoreError, match=r"comparison\.csv, \w+ of batch: its verdict is lost"):
        markdown.write_report(Results(published), "smoke")
    assert contents(published) == before


def test_the_report_s_script_leaves_with_2_and_one_line(published: Path) -> None:
    DAMAGE["a table gone"][1](published / "tables")
    script = store.REPOSITORY / "scripts" / "report.py"
    said = subprocess.run(
        [sys.executable, str(script), "--results", str(published)], capture_output=True, text=True, env=os.environ
    )
    assert said.returncode == 2
    assert re.fullmatch(r"error: .*mnist_training\.csv is missing.*\n", said.stderr)


def test_the_same_call_writes_them_anew(published: Path) -> None:
    whole = contents(published)
    for named, harm in (DAMAGE["a number"], DAMAGE["a table gone"]):
        harm(published / "tables")
        with pytest.raises(StoreError, match=re.escape(named)):
            Results(published).check()
        tables.write_experiment("mnist_training", store.runs_of("mnist_training"), published)
        assert contents(published) == whole
