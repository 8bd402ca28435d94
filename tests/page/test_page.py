"""The page as a file: its numbers against the tables, its links, and what it loads."""

from __future__ import annotations

import html.parser
import json
import re
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import mapping
import numpy as np
import pandas as pd
import pytest
from mapping import IDENTITY, RATES, SCALES

from bnrepro import store
from bnrepro.claims import CLAIMS, naming
from bnrepro.claims.operating_points.reading import NAME
from bnrepro.config.compose import Composer
from bnrepro.config.schema import Config
from bnrepro.report import judge, page
from bnrepro.report.judge import Found
from bnrepro.report.page import plane, wording
from bnrepro.stats import NOT_RUN
from bnrepro.tables import Results

VOID = {"meta", "link", "img", "br", "hr", "input"}
SOURCES = ("src", "srcset", "data", "poster")


class Parsed(html.parser.HTMLParser):
    """The elements of a page with their attributes; raises where tags do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), (tag, attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag, (tag, self.getpos())

    def values(self, *attributes: str) -> list[str]:
        return [value for _, found in self.elements for name, value in found.items() if name in attributes and value]


@pytest.fixture(scope="module")
def parsed(html: str) -> Parsed:
    return Parsed(html)


@pytest.fixture(scope="module")
def drawn(html: str) -> dict:
    [data] = re.findall(r"^const PLANE = (.*);$", html, flags=re.M)
    return json.loads(data)


# ------------------------------------------------------------------------------------------ against the tables


def curves(made: Path, split: str, metric: str) -> pd.DataFrame:
    """One metric as steps × runs, read from the table itself."""
    rows = pd.read_csv(made / "tables" / f"{NAME}.csv").query("split == @split and metric == @metric")
    return rows.pivot_table(index="step", columns="run", values="value")


def cells(drawn: dict, made: Path) -> list[tuple[dict, list[list[str]]]]:
    """Every cell of the page, with the names of its runs in the table: of the network without, of that with."""
    runs = pd.read_csv(made / "tables" / f"{NAME}.runs.csv").sort_values("seed")
    found = []
    for number, cell in enumerate(drawn["cells"]):
        scale, rate = SCALES[number // len(RATES)], RATES[number % len(RATES)]
        here = runs[(runs["model.init_scale"] == scale) & (runs["optimizer.lr"] == rate)]
        found.append((cell, [list(here.loc[here["arm"] == arm, "run"]) for arm in ("none", "batch")]))
    return found


def test_the_numbers_of_every_cell_are_those_of_the_tables(drawn: dict, made: Path) -> None:
    runs = pd.read_csv(made / "tables" / f"{NAME}.runs.csv").set_index("run")
    kept = {name: curves(made, *of) for name, of in plane.CURVES.items()}
    kinds = Counter()
    for cell, names in cells(drawn, made):
        for arm, own in zip(cell["arms"], names, strict=True):
            finished = [name for name in own if runs.loc[name, "status"] == "finished"]
            assert arm["lost"] == len(own) - len(finished)
            assert arm["run"] == own[0]
            for name, frame in kept.items():
                expected = frame[finished].tail(5).mean().mean() if finished else None
                assert arm["values"][name] == (None if expected is None else pytest.approx(expected, rel=1e-3))
            last = kept["validation"][finished].iloc[-1] if finished else pd.Series(dtype=float)
            assert arm["pass"] == int((last >= 0.9).sum())
        plain, treated = (arm["pass"] == len(drawn["seeds"]) for arm in cell["arms"])
        expected = {(True, True): "both", (False, True): "only treatment", (True, False): "only baseline"}
        assert cell["kind"] == expected.get((plain, treated), "neither")
        assert (cell["ratio"] is not None) == (cell["kind"] == "both")
        kinds[cell["kind"]] += 1
    assert dict(kinds) == {kind: count for kind, count in drawn["counts"].items() if count}
    assert {"both", "only treatment", "neither"} <= set(kinds)


def test_the_speed_of_a_cell_is_the_ratio_of_steps_in_the_tables(drawn: dict, made: Path) -> None:
    """To the final accuracy of the network without, between the evaluation before it is reached and that one."""
    test = curves(made, "test", "accuracy")
    steps = test.index.to_numpy(dtype=float)
    checked = 0
    for cell, (plain, treated) in cells(drawn, made):
        if cell["kind"] != "both":
            continue
        lows, highs = [], []
        for without, having in zip(plain, treated, strict=True):
            goal = test[without].tail(5).mean()
            (before, by), (own_before, own_by) = (
                (steps[at - 1], steps[at]) for at in (int((test[run] >= goal).argmax()) for run in (without, having))
            )
            lows.append(np.log(own_before / by))
            highs.append(np.log(own_by / before))
        assert cell["ratio"] == pytest.approx(np.exp((np.mean(lows) + np.mean(highs)) / 2), rel=1e-3)
        checked += 1
    assert checked >= 2


def test_the_curves_are_mean_and_range_of_the_seeds_at_the_evaluations(drawn: dict, made: Path) -> None:
    loss = curves(made, "train", "loss")
    for cell, names in cells(drawn, made):
        for arm, own in zip(cell["arms"], names, strict=True):
            rows = loss.reindex(columns=own).reindex(drawn["steps"])
            for shown, expected in zip(arm["curves"]["loss"], (rows.mean(axis=1), rows.min(axis=1), rows.max(axis=1)),
                                       strict=True):  # fmt: skip
                assert np.array(shown, dtype=float) == pytest.approx(expected.to_numpy(), rel=1e-3, nan_ok=True)


@pytest.mark.parametrize("count", [1, 5, 26, 27, 300])
def test_thinned_steps_keep_both_ends_and_are_few(count: int) -> None:
    steps = list(range(10, 10 + count))
    found = plane.thinned(steps)
    assert found[0] == steps[0]
    assert found[-1] == steps[-1]
    assert found == sorted(set(found) & set(steps))
    assert len(found) <= plane.POINTS
    assert len(found) >= min(count, plane.POINTS // 2)


def test_the_command_of_a_cell_trains_that_cell(drawn: dict, composed: Callable[..., list[Config]]) -> None:
    """The very configuration that the sweep trains there, profile included."""
    data = drawn["repeat"].partition("data=")[2].split()[0]
    assert data == "mnist"
    command = drawn["repeat"].format(arm="batch", scale="0.1", rate="1")
    overrides = command.split("scripts/train.py ")[1].split()
    swept = ("experiment=operating_points", "model.init_scale=0.1", "optimizer.lr=1", "seed=0", "norm=none,batch")
    with Composer() as composer:
        [single] = composer.sweep(overrides, single=True)
    assert single in composed(*swept)
    assert single.norm["name"] == "batch"


# ------------------------------------------------------------------------------------------- the file itself


def test_it_is_whole_and_its_links_lead_somewhere(parsed: Parsed, made: Path) -> None:
    ids = Counter(parsed.values("id"))
    assert max(ids.values()) == 1
    for link in parsed.values("href"):
        if link.startswith("#"):
            assert link[1:] in ids, link
        elif link != "REPORT.md" and not link.startswith("data:"):
            assert (made / link).exists(), link
    assert {claim.slug.replace("_", "-") for claim in CLAIMS} <= set(ids)


def test_every_figure_named_exists_is_described_and_waits_until_it_is_seen(parsed: Parsed, made: Path) -> None:
    images = [found for tag, found in parsed.elements if tag == "img"]
    assert [Path(str(found["src"])).name for found in images] == [f"{IDENTITY}_bias.svg", "comparison.svg"]
    for found in images:
        assert (made / str(found["src"])).exists()
        assert found["loading"] == "lazy"
        assert len(str(found["alt"])) > 20
        assert int(str(found["width"])) == 662  # 6.9 inches


def test_it_loads_nothing_from_elsewhere_and_needs_no_server(html: str, parsed: Parsed) -> None:
    for value in [*parsed.values(*SOURCES), *(str(found["href"]) for tag, found in parsed.elements if tag == "link")]:
        assert not re.match(r"\w+:|//", value) or value == "data:,", value
    assert not re.search(r"@import|url\(|\bfetch\(|XMLHttpRequest|\bimport\(", html)
    assert all(found.get("type") != "module" for tag, found in parsed.elements if tag == "script")


def test_what_opens_first_is_small(tmp_path: Path) -> None:
    """A map of full size; the number of seeds changes nothing."""
    tables = mapping.made(seeds=(0, 1))
    text = page.build.page(judge.judge(Results(mapping.on_disk(tmp_path, tables))))
    assert "const PLANE" in text
    assert len(text.encode()) < 1.5e6  # of 3 MB; the committed claims' numbers take 0.4


def test_without_a_map_the_page_says_how_to_get_it_and_shows_the_rest(made: Path, tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    for path in (made / "tables").glob(f"{IDENTITY}.*"):
        (tmp_path / "tables" / path.name).write_bytes(path.read_bytes())
    mapping.vouch(tmp_path)
    text = page.write(judge.judge(Results(tmp_path))).read_text(encoding="utf-8")
    parsed = Parsed(text)
    assert "no table of operating_points: python scripts/reproduce.py --experiments operating_points" in text
    assert "const PLANE" not in text
    assert "make compare" in text
    assert "make figures" in text  # none is there
    assert sum(found.get("class") == "claim" for _, found in parsed.elements) == len(CLAIMS)


def test_the_filters_offer_what_the_claims_have_and_count_it(parsed: Parsed, found: Found) -> None:
    claims = [attributes for _, attributes in parsed.elements if attributes.get("class") == "claim"]
    verdicts = Counter(each["data-verdict"] for each in claims)
    assert verdicts == Counter(judgement.verdict for _, judgement in found)
    assert Counter(each["data-kind"] for each in claims)["identity"] == sum(claim.rule.exact for claim in CLAIMS)
    offered = {str(attributes["value"]) for tag, attributes in parsed.elements if tag == "option"}
    assert set(verdicts) | {"paper", "readers", "follow-ups", "measured", "identity", ""} == offered


def test_normalisers_stand_side_by_side(html: str) -> None:
    frame = pd.read_csv(store.REPOSITORY / "results" / "tables" / "comparison.csv")
    part = html.partition('id="normalisers"')[2]
    if (frame["verdict"] == NOT_RUN).all():
        assert "None has been asked here" in part
        return
    heads = re.findall(r'<th scope="col">(.*?)</th>', part)
    assert heads == ["claim", *(naming.short(name) for name in dict.fromkeys(frame["normaliser"]))]
    assert frame.loc[frame["verdict"] != NOT_RUN, "verdict"].iloc[0] in part
    assert "<h3>What to use when</h3>" in part
    assert "<summary>Each normaliser</summary>" in part
    assert 'src="figures/comparison.svg"' in part


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.slug)
def test_every_claim_has_a_short_sentence_and_a_source(claim) -> None:
    assert len(wording.brief(claim)) <= wording.LONGEST
    assert "BN" not in wording.brief(claim, "group")
    assert (claim.origin == "paper") == (wording.PAPER in wording.sources(claim))
    assert wording.sources(claim)
    assert ("et al." in claim.source or "&" in claim.source) == (wording.FOLLOW_UPS in wording.sources(claim))


def test_every_piece_of_the_page_is_in_the_package() -> None:
    options = tomllib.loads((store.REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = options["tool"]["setuptools"]["package-data"]["bnrepro.report.page"]
    folder = Path(page.__file__).parent
    packed = {path for pattern in [*patterns, "*.py"] for path in folder.glob(pattern)}
    assert {path for path in folder.iterdir() if path.is_file()} == packed
    assert max(len(path.read_text(encoding="utf-8").splitlines()) for path in packed) <= 300
