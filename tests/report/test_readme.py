"""The README: short, its generated parts those of the verdicts, and its worked example true."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from bnrepro import store
from bnrepro.claims import CLAIMS, Evidence, Judgement
from bnrepro.report import readme
from bnrepro.report.judge import Found
from bnrepro.report.page import finding
from bnrepro.stats import NOT_RUN, SUPPORTED, Estimate, Interval
from bnrepro.tables import Results, Tables

README = (store.REPOSITORY / "README.md").read_text(encoding="utf-8")
BY_SLUG = {claim.slug: claim for claim in CLAIMS}
MOST = 9_000
"""Bytes that a student reads to the end."""


def test_it_is_read_to_its_end() -> None:
    assert len(README.encode()) <= MOST


def test_the_map_is_its_first_picture_and_three_panels_its_second() -> None:
    pictures = re.findall(r"!\[.+?\]\((\S+)\)", README)
    assert pictures == [f"results/figures/operating_points_{name}.png" for name in ("map", "stories")]
    assert README.index(pictures[0]) < README.index("make reproduce")


class Made(Results):
    """The results of one sweep, whose runs are on MNIST."""

    def tables(self, experiment: str) -> Tables | None:
        runs = pd.DataFrame({"run": ["a"], "data": ["MNIST, binary"]})
        return Tables("affine", pd.DataFrame(), runs, runs) if experiment == "affine" else None


@pytest.fixture
def judged(tmp_path: Path) -> Found:
    """One claim with a number, all others not run."""
    (tmp_path / "tables").mkdir()
    gap = Estimate("gap", "batch", Interval(0.02, 0.01, 0.03, 10), True, "difference")
    pairs = [
        (
            claim,
            Judgement(SUPPORTED, Evidence([gap])) if claim.slug == "affine_needed" else Judgement(NOT_RUN, Evidence()),
        )
        for claim in CLAIMS
    ]
    return Found(Made(tmp_path), tuple(pairs))


def test_at_most_ten_claims_each_with_its_network_its_data_and_its_unit(judged: Found) -> None:
    assert len(readme.HEADLINES) <= 10
    assert set(readme.HEADLINES) <= set(BY_SLUG)
    _, _, *rows = readme.verdicts(judged).splitlines()
    cells = {re.findall(r"#([\w-]+)\)", row)[0]: [cell.strip() for cell in row.split("|")[2:-1]] for row in rows}
    assert list(cells) == [slug.replace("_", "-") for slug in readme.HEADLINES]
    assert cells["affine-needed"] == [
        "MLP of §4.1; MNIST, binary", "final test accuracy, with γ, β minus without",
        "+2.00 points (+1.00 to +3.00); 10 seeds", "✔ supported",
    ]  # fmt: skip
    assert cells["covariate-shift"][2:] == ["–", "– not run"]
    for slug in readme.HEADLINES:
        assert BY_SLUG[slug].network in README


def test_the_finding_is_that_of_the_page(judged: Found) -> None:
    told = ["".join(part.text for part in parts) for parts in finding.sentences(judged)]
    assert readme.sentences(judged).splitlines() == [f"- {text}" for text in told]


def test_a_part_is_replaced_and_nothing_else() -> None:
    begin, end = readme.markers("claims")
    text = f"before\n{begin}\nold\n{end}\nafter\n"
    assert readme.with_part(text, "claims", "new") == f"before\n{begin}\nnew\n{end}\nafter\n"
    with pytest.raises(ValueError, match="markers"):
        readme.with_part("no markers", "claims", "new")
    for name in (readme.FINDING, readme.CLAIMS):
        assert readme.with_part(README, name, "new") != README


def test_the_worked_example_is_what_the_tables_say() -> None:
    """The runs of seed 3, and the accuracies at which they end."""
    section = README.partition("## From a number to its run")[2].partition("\n## ")[0]
    names = re.findall(r"`(\w+-s3-[0-9a-f]{8})`", section)
    rows = pd.read_csv(store.REPOSITORY / "results" / "tables" / "affine.csv")
    test = rows.query("split == 'test' and metric == 'accuracy'").sort_values("step")
    ends = {str(name): run["value"].tail(5).mean() for name, run in test[test["seed"] == 3].groupby("run")}
    assert set(names) == set(ends)
    assert [f"{ends[name]:.2%}" for name in names] == re.findall(r"\d\d\.\d\d%", section)
    stored = pd.read_json(store.REPOSITORY / "results" / "claims.json", orient="index").loc["affine_needed"]
    assert f"{100 * stored['value']:+.2f} points" in section
    assert f"{ {10: 'ten'}[stored['n']] } seeds" in section
