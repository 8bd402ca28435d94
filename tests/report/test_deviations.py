"""How the experiments differ from the paper's: printed once for every experiment, one click from each claim."""

from __future__ import annotations

import re

import pytest

from bnrepro.claims import CLAIMS, EXPERIMENTS
from bnrepro.report import deviations, judge, markdown
from bnrepro.tables import Results


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("results")
    (folder / "tables").mkdir()
    return markdown.as_markdown(judge.judge(Results(folder)))


@pytest.fixture(scope="module")
def items(report: str) -> dict[str, str]:
    """By experiment, its item of the list."""
    [section] = re.findall(rf"^## {deviations.TITLE}\n\n(.*?)\n\n", report, flags=re.M | re.S)
    return dict(re.findall(r"^- \*\*(\w+)\*\*\. (.*)$", section, flags=re.M))


def test_every_experiment_that_deviates_has_one_item(items: dict[str, str]) -> None:
    named = [name for name, experiment in EXPERIMENTS.items() if any(claim.deviates for claim in experiment.claims)]
    assert list(items) == named
    for name, experiment in EXPERIMENTS.items():
        for claim in experiment.claims:
            link = f"[{claim.slug}](#{claim.slug.replace('_', '-')})"
            assert [each for each, text in items.items() if link in text] == [name] * claim.deviates


@pytest.mark.parametrize("text", sorted({claim.deviation for claim in CLAIMS if claim.deviation != "none"}))
def test_no_deviation_is_printed_twice(text: str, report: str) -> None:
    """Nor are its first two clauses, with which another experiment may begin."""
    assert report.count("; ".join(text.split("; ")[:2])) == 1


def test_what_another_experiment_said_is_referred_to(items: dict[str, str]) -> None:
    assert items["plain_with_changes"].endswith(": as inception_training.")
    assert "as inception_training; the size of each change" in items["accelerations"]
    assert ": as inception_training; here only 3,000 steps" in items["rate_ladder"]
    assert ": as inception_training; networks trained for 3.75 epochs" in items["ensemble"]
    assert ": the network of §4.1; nine learning rates" in items["learning_rate"]
    assert "[stable_inputs](#stable-inputs): the same; all 100 sigmoids" in items["operating_points"]


def test_each_claim_leads_to_the_list_or_says_that_nothing_deviates(report: str) -> None:
    heading = deviations.TITLE.lower().replace("'", "").replace(" ", "-")
    for claim in CLAIMS:
        [section] = re.findall(rf"^### {claim.slug.replace('_', '-')}\n(.*?)^##", report, flags=re.M | re.S)
        assert (f"(#{heading})" in section) == claim.deviates
        assert (f"Deviation: {claim.deviation}." in section) != claim.deviates
