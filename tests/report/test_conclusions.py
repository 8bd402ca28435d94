"""What we conclude: the answers follow the verdicts, and every number in them is in claims.json."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bnrepro.claims import CLAIMS, Evidence, Judgement
from bnrepro.report import conclusions, judge, markdown
from bnrepro.report.conclusions import QUESTIONS, quoted
from bnrepro.report.judge import Found
from bnrepro.stats import NOT_RUN, VERDICTS, Estimate, Interval, words
from bnrepro.store import committed_results
from bnrepro.tables import Results

KNOWN = {claim.slug: claim for claim in CLAIMS}


@pytest.fixture(scope="module")
def committed() -> Found:
    return judge.judge(Results(committed_results()))


def judged(folder: Path, verdict: str, slug: str = "faster_training", words: str = "") -> Found:
    estimate = Estimate("x", "batch", Interval(0.9, 0.8, 1.0, 5), True, "share", "of 12 cells: 11 below 1×")
    return Found(Results(folder), ((KNOWN[slug], Judgement(verdict, Evidence([estimate], words=words))),))


@pytest.mark.parametrize("verdict", VERDICTS)
def test_the_first_claim_of_a_question_answers_it(tmp_path: Path, verdict: str) -> None:
    said = conclusions.section(judged(tmp_path, verdict))
    assert f"**Does training take fewer steps?** {conclusions.ANSWERS[verdict]}" in said
    assert f"([faster_training](#faster-training), {verdict}): of 12 cells: 11 below 1×." in said
    assert "Does it make training smoother" not in said


def test_where_other_places_give_another_answer_the_conclusions_say_it(tmp_path: Path) -> None:
    other = "The answer is not the same everywhere: depends over the map; inconclusive with both tuned, 0.9×."
    found = judged(tmp_path, "depends", words=other)
    assert f"of 12 cells: 11 below 1×. {other}" in conclusions.section(found)
    text = markdown.as_markdown(found)
    assert f"**{other}**" in text
    assert "| of 12 cells: 11 below 1× | 5 seeds | – | ± depends |" in text
    assert judge.as_json(found)["faster_training"]["words"] == other


def test_no_claim_is_asked_twice_and_each_exists() -> None:
    slugs = [point.slug for question in QUESTIONS for point in question.points]
    assert len(slugs) == len(set(slugs))
    assert set(slugs) <= set(KNOWN)


def test_every_estimate_that_the_conclusions_quote_is_there(committed: Found) -> None:
    """A name that no claim gives would silently say less."""
    found = {claim.slug: judgement for claim, judgement in committed}
    for question in QUESTIONS:
        for point in question.points:
            if found[point.slug].verdict != NOT_RUN:
                assert len(quoted(point, found[point.slug], "batch")) == len(point.beside), point


def test_every_claim_stands_once_in_the_table_of_verdicts(committed: Found) -> None:
    text = conclusions.section(committed).partition("**All claims by verdict**")[2]
    rows = {cells[1].split(maxsplit=1)[1].strip(): "|".join(cells[2:])
            for line in text.splitlines() if line.count("|") > 2 and "---" not in line
            for cells in [line.split("|")] if cells[1].strip()}  # fmt: skip
    for claim, judgement in committed:
        assert [verdict for verdict, cells in rows.items() if f"[{claim.slug}](#" in cells] == [judgement.verdict]


def test_the_conclusions_have_no_number_of_their_own(committed: Found) -> None:
    """What is left of a line without what claims.json holds of its claim is words."""
    stored = json.dumps(judge.as_json(committed), ensure_ascii=False)
    judgements = {claim.slug: judgement for claim, judgement in committed}
    points = {point.slug: point for question in QUESTIONS for point in question.points}
    for line in conclusions.section(committed).partition("**All claims")[0].splitlines():
        if not line.startswith("- "):
            continue
        slug = re.search(r"\(\[(\w+)\]", line)[1]  # pyright: ignore[reportOptionalSubscript]
        judgement, point = judgements[slug], points[slug]
        assert judgement.evidence.words in stored
        rest = line.partition(f"(#{judge.anchor(slug)})")[2].replace(judgement.evidence.words, "")
        for each in judgement.estimates:
            rest = rest.replace(words(each), "")
        for before in point.beside.values():
            rest = rest.replace(before, "")
        assert not any(character.isdigit() for character in rest), (slug, rest)
