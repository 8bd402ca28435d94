"""The rules were committed before the runs that they judge: the dates of the commits against the runs' records."""

from __future__ import annotations

import csv
import gzip
import subprocess
from pathlib import Path

import pytest

from bnrepro import store
from bnrepro.claims.comparison import rules as comparison_rules
from bnrepro.claims.operating_points import rules

RULES = Path(str(rules.__file__))
JUDGED = ("operating_points", "operating_points_digits", "stability_limit", "first_layer", "depth")
"""The experiments whose claims are judged by these rules."""
COMPARED = ("operating_points", "mnist_training", "stability_limit", "inception_normalisers")


def declared(file: Path) -> float | None:
    """When the last change of ``file`` was committed, in seconds since 1970; None in a clone without its history."""
    asked = ["git", "-C", str(file.parent), "log", "-1", "--format=%ct", "--", file.name]
    shallow = ["git", "-C", str(file.parent), "rev-parse", "--is-shallow-repository"]
    try:
        found, cut = (subprocess.run(call, capture_output=True, text=True) for call in (asked, shallow))
    except FileNotFoundError:
        return None
    if found.returncode or not found.stdout.strip() or cut.stdout.strip() == "true":
        return None
    return float(found.stdout)


def started(timing: Path) -> dict[str, float]:
    """When every run of a timing table began."""
    text = gzip.decompress(timing.read_bytes()).decode() if timing.suffix == ".gz" else timing.read_text()
    return {row["run"]: float(row["finished"]) - float(row["seconds"]) for row in csv.DictReader(text.splitlines())}


def too_early(timing: Path, committed: float) -> list[str]:
    """The runs that began before the rules were committed."""
    return sorted(run for run, began in started(timing).items() if began < committed)


@pytest.mark.parametrize("experiment", JUDGED)
def test_the_rules_were_committed_before_the_runs(experiment: str) -> None:
    timing = store.find_table(store.REPOSITORY / "results" / "tables", f"{experiment}.timing")
    if timing is None:
        pytest.skip(f"results/tables has no {experiment}.timing.csv: it has not been run in full")
    committed = declared(RULES)
    if committed is None:
        pytest.skip("this copy has no history of git, so that nothing says when the rules were committed")
    assert too_early(timing, committed) == []


@pytest.mark.parametrize("experiment", COMPARED)
def test_the_rules_of_the_comparison_were_committed_before_its_runs(experiment: str) -> None:
    """Its baselines in inception_training are runs of that experiment, and older."""
    timing = store.find_table(store.REPOSITORY / "results" / "comparison" / "tables", f"{experiment}.timing")
    if timing is None:
        pytest.skip(f"results/comparison has no {experiment}.timing.csv: it has not been run")
    committed = declared(Path(str(comparison_rules.__file__)))
    if committed is None:
        pytest.skip("this copy has no history of git, so that nothing says when the rules were committed")
    assert too_early(timing, committed) == []


def test_a_run_from_before_the_rules_is_noticed(tmp_path: Path) -> None:
    table = tmp_path / "x.timing.csv"
    table.write_text("run,seconds,finished\nlate,10,120\nearly,10.5,110\n")
    assert too_early(table, 100.0) == ["early"]
    table = tmp_path / "y.timing.csv.gz"
    table.write_bytes(gzip.compress(b"run,seconds,finished\nlate,10,120\n"))
    assert too_early(table, 100.0) == []


def test_the_date_is_that_of_the_last_change(tmp_path: Path) -> None:
    def git(*words: str, when: int = 0) -> None:
        named = ("-c", "user.name=a", "-c", "user.email=a@b")
        dates = {"GIT_AUTHOR_DATE": f"{when} +0000", "GIT_COMMITTER_DATE": f"{when} +0000", "PATH": "/usr/bin:/bin"}
        subprocess.run(["git", *named, *words], cwd=tmp_path, env=dates, check=True, capture_output=True)

    git("init", "-q")
    for number, name in enumerate(("rules.py", "rules.py", "other.py"), start=1):
        (tmp_path / name).write_text(str(number))
        git("add", "-A")
        git("commit", "-q", "-m", name, when=1_000_000_000 + number)
    assert declared(tmp_path / "rules.py") == 1_000_000_002
    assert declared(tmp_path / "unknown.py") is None


def test_everything_that_the_verdicts_depend_on_is_declared_there() -> None:
    """No claim of the map has a rule of its own beside the committed ones."""
    from bnrepro.claims import depth, operating_points

    known = [value for value in vars(rules).values() if hasattr(value, "verdict") and not isinstance(value, type)]
    for claim in (*operating_points.CLAIMS, *depth.CLAIMS):
        assert any(claim.rule is rule for rule in known), claim.slug
