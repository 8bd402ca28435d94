"""A claim's number made again for one seed equals that of the committed table; progress is said on the way."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from bnrepro import store, tables
from bnrepro.config.schema import Config
from bnrepro.errors import ConfigError
from bnrepro.pipeline import verify
from bnrepro.pipeline.again import claim_again
from bnrepro.runs import run
from bnrepro.tables import Results, Watched


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture
def results(sweep: Callable[..., list[Config]], tmp_path: Path) -> Path:
    """The tables of a short affine with two seeds."""
    for config in sweep("experiment=affine", "seed=0,1", "steps=60"):
        run.execute(run.plan(config))
    tables.write_experiment("affine", store.runs_of("affine"), tmp_path / "results")
    return tmp_path / "results"


def test_one_seed_runs_to_its_end_and_stands_beside_the_committed_number(
    results: Path, console: Console, outputs: Path
) -> None:
    before = sorted(outputs.rglob("*"))
    assert claim_again("affine-needed", 1, results, 1, console) == 0
    assert "2 runs: 0 done, 2 to train" in said(console)  # although they are finished in the outputs folder
    rows = [line for line in said(console).splitlines() if line.startswith("│")]
    whole, alone, again = ([cell.strip() for cell in row.strip("│").split("│")] for row in rows)
    assert whole[0] == "committed, as in the README"
    assert whole[2] == "2 seeds"
    assert (alone[0], again[0]) == ("committed, seed 1 alone", "made again, seed 1")
    assert alone[1:] == again[1:]
    assert "points" in again[1]
    assert sorted(outputs.rglob("*")) == before
    assert os.environ["BNREPRO_OUTPUTS"] == str(outputs)


def test_a_claim_that_the_tables_cannot_answer_is_refused(results: Path, console: Console) -> None:
    with pytest.raises(ConfigError, match="no table of dropout"):
        claim_again("regularizes", None, results, 1, console)
    with pytest.raises(ConfigError, match="have the seeds 0, 1"):
        claim_again("affine_needed", 7, results, 1, console)


def test_what_a_claim_prints_beside_its_number_is_not_made_again(results: Path) -> None:
    watched = Watched.over(Results(results))
    assert watched.beside("affine") is not None
    assert not watched.sweeps
    assert watched.tables("affine") is not None
    assert list(watched.sweeps) == ["affine"]


def test_a_measurement_is_made_again(console: Console) -> None:
    assert claim_again("identity_recoverable", None, store.committed_results(), None, console) == 0
    assert "measuring identity_recoverable" in said(console)
    assert "made again" in said(console)


def test_verifying_says_what_it_does_and_needs_a_table(results: Path, console: Console, tmp_path: Path) -> None:
    assert verify.verify_all(results, None, console) == 0
    assert said(console).startswith("[1/1] affine: 200 steps of one run")
    with pytest.raises(ConfigError, match="no table of dropout"):
        verify.verify_all(results, ["affine", "dropout"], console)
    with pytest.raises(ConfigError, match="no table of"):
        verify.verify_all(tmp_path / "empty", None, console)
