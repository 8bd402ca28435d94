"""What is said of a single run while it trains."""

from __future__ import annotations

import pytest

from bnrepro.runs.display import OneRun
from bnrepro.runs.run import Report


def said(reports: int, *, terminal: bool, every_s: float = 0.0) -> list[str]:
    lines: list[str] = []
    show = OneRun(lines.append, terminal, every_s)
    for step in range(reports + 1):
        show(Report("batch-s0", step, reports, {"train/loss": 0.5}, 100.0))
    return lines


@pytest.mark.parametrize("reports", [100, 1000, 5000])
def test_without_a_terminal_a_run_says_ten_lines_from_the_first_step_to_the_last(reports: int) -> None:
    lines = said(reports, terminal=False)
    assert len(lines) == 11
    assert lines[0] == f"batch-s0  step 0/{reports}  train/loss 0.5000  100 steps/s"
    assert f"step {reports}/{reports}" in lines[-1]


def test_at_a_terminal_it_says_what_the_clock_allows() -> None:
    assert len(said(100, terminal=True)) == 101
    assert len(said(100, terminal=True, every_s=3600.0)) == 2


def test_of_a_run_of_no_step_it_says_one_line() -> None:
    assert len(said(0, terminal=False)) == 1
