"""What the page says and draws of a claim: the five sentences, the small picture, the way to the runs."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

import numpy as np
import pytest

from bnrepro import arguments, store
from bnrepro.claims import CLAIMS, Evidence, Judgement
from bnrepro.errors import ConfigError
from bnrepro.report import judge, showing
from bnrepro.report.judge import Found
from bnrepro.report.page import NAME, finding
from bnrepro.report.page.origin import origin
from bnrepro.report.page.picture import MIDDLE, picture
from bnrepro.stats import (
    CONTRADICTED,
    INCONCLUSIVE,
    MEASURED,
    NOT_RUN,
    SUPPORTED,
    VERDICTS,
    WEAKER,
    Estimate,
    Interval,
    Measured,
)
from bnrepro.stats.shares import Share, Shares
from bnrepro.tables import Results

BY_SLUG = {claim.slug: claim for claim in CLAIMS}


def judged(slug: str, verdict: str, value: float = 0.5, low: float = math.nan, high: float = math.nan) -> tuple:
    claim = BY_SLUG[slug]
    estimate = Estimate("it", "batch", Interval(value, low, high, 5), True, claim.unit)
    return claim, Judgement(verdict, Evidence([] if verdict == NOT_RUN else [estimate]))


def text_of(*pairs: tuple) -> list[str]:
    found = Found(Results(Path("nowhere")), pairs)
    return ["".join(part.text for part in parts) for parts in finding.sentences(found)]


def test_the_finding_is_five_sentences_made_of_the_verdicts(found: Found) -> None:
    told = finding.sentences(found)
    assert len(told) == 5
    verdicts = {claim.slug: judgement.verdict for claim, judgement in found}
    slugs = [part.slug for parts in told for part in parts if part.slug]
    assert len(slugs) == len(set(slugs)) == sum(len(topic.does) for topic in finding.TOPICS)
    for parts in told:
        text = "".join(part.text for part in parts)
        assert text.endswith(".")
        for part in parts:
            said = finding.SAID[verdicts[part.slug]][0].partition("{}")[2] if part.slug else ""
            assert said in text


def test_every_claim_of_a_sentence_is_declared_with_a_verdict_that_it_can_word() -> None:
    rules = [BY_SLUG[slug].rule for topic in finding.TOPICS for slug in topic.does]
    assert not any(isinstance(rule, Measured) for rule in rules)
    assert {*finding.SAID, MEASURED} == set(finding.COUNTED) == set(VERDICTS)
    assert set(BY_SLUG) >= finding.WORDLESS


def test_a_sentence_groups_claims_by_verdict_and_gives_their_numbers() -> None:
    counts, reasons, price = text_of(
        judged("covariate_shift", CONTRADICTED, 1.64), judged("regularizes", CONTRADICTED, -0.0058),
        judged("smoother_landscape", SUPPORTED, 0.43), judged("step_cost", NOT_RUN),
        judged("tiny_batches", NOT_RUN), judged("bias_redundant", SUPPORTED, 1e-14),
    )  # fmt: skip
    assert counts == (
        "Of 5 empirical claims, 1 is supported, 2 are contradicted and 2 have not been run; of 1 identity, 1 is "
        "supported."
    )
    assert reasons == (
        "As for why it works, BN is found to smooth the loss along the step (0.43×); it is found not to reduce "
        "internal covariate shift (1.64×) or to reduce the gain of dropout."
    )
    assert price == (
        "As for its price, there are no runs yet that could show BN to make a training step longer or to lose accuracy "
        "with tiny mini-batches."
    )


def test_before_anything_was_run_the_finding_says_so(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    told = ["".join(part.text for part in parts) for parts in finding.sentences(judge.judge(Results(tmp_path)))]
    assert len(told) == 5
    assert re.fullmatch(r"Of \d+ empirical claims, none has been run; of \d+ identities, none has been run.", told[0])
    assert all("there are no runs yet that could show BN to " in text for text in told[1:])
    assert not any("found" in text for text in told)


def test_a_claim_over_the_map_that_misses_its_margin_says_where_it_holds_at_all() -> None:
    shares = Shares(Share((2, 2), (10, 10)), Share((6, 6), (10, 10)), Share((3, 3), (10, 10)), 10)
    estimate = Estimate("it", "batch", shares.beyond.interval, True, "share")
    claim = BY_SLUG["faster_training"]
    weaker, supported = (
        finding.amount(claim, Judgement(verdict, Evidence([estimate], shares=shares)))
        for verdict in (WEAKER, SUPPORTED)
    )
    assert (weaker, supported) == (" (in 60% of cells)", " (in 20% of cells)")


def test_another_treatment_is_called_by_its_name() -> None:
    pairs = (judged("higher_accuracy", SUPPORTED, 0.9),)
    told = finding.sentences(Found(Results(Path("nowhere"), "group"), pairs))
    said = "".join(part.text for parts in told for part in parts)
    assert "BN" not in said
    assert "group norm is found to end at a higher accuracy (in 90% of cells)" in said


@pytest.mark.parametrize(("value", "unit", "said"), [
    (-0.0058, "difference", "−0.58 points"), (-0.00001, "difference", "0.00 points"), (0.254, "ratio", "0.254×"),
    (0.0, "share", "0.00%"),
])  # fmt: skip
def test_a_single_number_has_a_true_minus_and_zero_no_sign(value: float, unit: str, said: str) -> None:
    assert finding.single(value, unit) == said


# ----------------------------------------------------------------------------------------------- small pictures


@pytest.mark.parametrize(("slug", "verdict", "numbers"), [
    ("step_cost", SUPPORTED, (1.2, 1.1, 1.3)),  # claimed above 1
    ("covariate_shift", SUPPORTED, (0.5, 0.4, 0.6)),  # claimed below 1
    ("covariate_shift", CONTRADICTED, (1.6, 1.4, 1.9)),
    ("placement", CONTRADICTED, (-0.0014, -0.002, -0.0006)),
    ("placement", INCONCLUSIVE, (0.001, -0.002, 0.004)),
    ("fewer_steps_inception", WEAKER, (0.8, 0.7, 0.9)),
    ("fewer_steps_inception", SUPPORTED, (0.25, 0.2, 0.3)),
    ("gradient_estimate", SUPPORTED, (-0.5, -0.51, -0.49)),
])  # fmt: skip
def test_the_picture_shows_the_verdict(slug: str, verdict: str, numbers: tuple[float, float, float]) -> None:
    """Right of the middle is the claimed side; beyond the stroke, the margin; across the middle, nothing."""
    claim, judgement = judged(slug, verdict, *numbers)
    assert claim.rule.verdict(judgement.primary.interval) == verdict
    drawn = picture(claim, judgement)
    assert drawn is not None
    [(low, high, _)] = drawn.bars
    assert drawn.dot is not None
    assert 0 <= low <= drawn.dot <= high <= 100
    margin = drawn.ticks[0] if drawn.ticks else MIDDLE
    sides = {SUPPORTED: low > margin, WEAKER: MIDDLE < low < margin, CONTRADICTED: high < MIDDLE}
    assert sides.get(verdict, low < MIDDLE < high)
    if len(drawn.ticks) == 2:  # a margin on either side of what is expected
        assert margin < low < high < drawn.ticks[1]


def test_an_identity_lies_right_if_its_error_is_below_the_tolerance() -> None:
    claim = BY_SLUG["bias_redundant"]
    places = [picture(*judged("bias_redundant", SUPPORTED, error)) for error in (0.0, 1e-14, claim.rule.margin, 1.0)]
    dots = [drawn.dot for drawn in places if drawn]
    assert dots == sorted(dots, reverse=True)
    assert dots[2] == MIDDLE
    assert dots[0] > dots[1] > MIDDLE > dots[3]


def test_a_claim_on_the_map_shows_its_shares() -> None:
    claim = BY_SLUG["faster_training"]
    shares = Shares(Share((2, 2), (10, 10)), Share((6, 6), (10, 10)), Share((3, 3), (10, 10)), 10)
    estimate = Estimate("it", "batch", shares.beyond.interval, True, "share")
    drawn = picture(claim, Judgement(INCONCLUSIVE, Evidence([estimate], shares=shares)))
    assert drawn is not None
    widths = {kind: high - low for low, high, kind in drawn.bars}
    assert [widths[kind] / widths["beyond"] for kind in ("beyond", "claimed", "other")] == pytest.approx([1, 3, 1.5])
    assert {kind for low, _, kind in drawn.bars if low >= MIDDLE} == {"beyond", "claimed"}


def test_a_bound_or_no_number_is_no_error() -> None:
    drawn = picture(*judged("step_cost", INCONCLUSIVE, 1.2, 0.0, math.inf))
    assert drawn is not None
    assert [bar[:2] for bar in drawn.bars] == [(4.0, 96.0)]
    assert picture(*judged("step_cost", NOT_RUN)) is None
    assert picture(*judged("step_cost", INCONCLUSIVE, math.nan)) is None


# ------------------------------------------------------------------------------------------- the way to the runs


def test_a_claim_leads_to_its_tables_its_configuration_and_its_command(found: Found, made: Path) -> None:
    told = origin(BY_SLUG["higher_accuracy"], found)
    [table] = told.tables
    runs = found.results.tables("operating_points")
    assert runs is not None
    assert table.file == "tables/operating_points.csv"
    assert f"{len(runs.metrics):,} rows of {len(runs.runs)} runs" in table.said
    named = re.search(r"of seed 0: (\S+), (\S+) and (\d+) more", table.said)
    assert named is not None
    assert {named[1], named[2]} <= set(runs.runs["run"])
    assert int(named[3]) == np.sum(runs.runs["seed"] == 0) - 2
    assert (store.REPOSITORY / table.config).exists()
    assert told.command == f'make verify ARGS="--claim higher_accuracy --seed 0 --results {made}"'


def test_a_measurement_has_no_seed_and_what_was_not_run_no_command(found: Found) -> None:
    told = origin(BY_SLUG["bias_redundant"], found)
    assert "--seed" not in told.command
    assert "--claim bias_redundant" in told.command
    assert told.tables[0].config == "configs/measurement/bias_redundant.yaml"
    assert not origin(BY_SLUG["covariate_shift"], found).command


# --------------------------------------------------------------------------------------------------- make show


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    addresses: list[str] = []
    monkeypatch.setattr(showing.webbrowser, "open", addresses.append)
    return addresses


def test_the_page_that_was_written_last_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "committed_results", lambda: tmp_path / "results")
    with pytest.raises(ConfigError, match="make reproduce"):
        showing.newest()
    paths = [tmp_path / "results" / NAME, store.outputs_folder() / "quick" / NAME]
    for age, path in enumerate(paths):
        path.parent.mkdir(parents=True)
        path.write_text("a page")
        os.utime(path, (1e9 + age, 1e9 + age))
    assert showing.newest() == paths[1]
    os.utime(paths[0], (2e9, 2e9))
    assert showing.newest() == paths[0]


@pytest.mark.parametrize("display", [True, False])
def test_without_a_display_its_place_is_printed_and_nothing_is_opened(
    display: bool, made: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(showing.sys, "platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    if display:
        monkeypatch.setenv("DISPLAY", ":0")
    showing.show(showing.page_in(made))
    assert capsys.readouterr().out == f"{made / NAME}\n"
    assert opened == ([(made / NAME).resolve().as_uri()] if display else [])


def test_a_results_folder_tells_its_profile(outputs: Path, tmp_path: Path) -> None:
    told = {name: arguments.profile_of(outputs / name) for name in ("quick", "smoke-digits", "quick-group", "mine")}
    assert told == {"quick": "quick", "smoke-digits": "smoke", "quick-group": "quick", "mine": "full"}
    assert arguments.profile_of(tmp_path / "quick") == "full"


def test_a_folder_without_a_page_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="make report"):
        showing.page_in(tmp_path)
