"""The page as a person meets it: shown from disk in a real browser, by pointer, by keyboard, in the dark, on a phone.

Needs Playwright and a Chromium: without them the tests are skipped, except where BNREPRO_BROWSER is set, as in .ci/run.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mapping import IDENTITY, RATES, SCALES

from bnrepro.claims import CLAIMS
from bnrepro.claims.operating_points.reading import NAME as MAP
from bnrepro.report import page

pytestmark = pytest.mark.browser
NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking",
         "--disable-component-update", "--disable-sync")  # fmt: skip
ENDS = {
    "validation accuracy": ("validation", "accuracy"),
    "test accuracy": ("test", "accuracy"),
    "training loss, nats": ("train", "loss"),
}
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    asked = os.environ.get("BNREPRO_BROWSER")
    path = asked or next(filter(None, map(shutil.which, NAMES)), None)
    try:
        from axe_playwright_python.sync_playwright import Axe  # noqa: F401 - as the last test needs it
        from playwright.sync_api import sync_playwright
    except ImportError:
        if asked:
            raise
        pytest.skip("Playwright or axe is not installed")
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is on the path (apt-get install chromium)")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        yield started
        started.close()


@pytest.fixture
def shown(browser: Any, made: Path) -> Iterator[Callable[..., Any]]:
    """``shown("#anchor", viewport=PHONE, color_scheme="dark")``: the page. No script may fail, nor anything be missing,
    and nothing may be asked for beyond the page's folder."""
    opened, wrong = [], []

    def show(anchor: str = "", **options: Any) -> Any:
        context = browser.new_context(**{"viewport": DESKTOP, "reduced_motion": "reduce"} | options)
        opened.append(context)
        found = context.new_page()
        found.on("pageerror", lambda error: wrong.append(str(error)))
        found.on("requestfailed", lambda request: wrong.append(request.url))
        found.on("request", lambda request: wrong.append(request.url)
                 if not request.url.startswith((made.as_uri(), "data:,")) else None)  # fmt: skip
        found.goto((made / page.NAME).as_uri() + anchor)
        return found

    yield show
    for context in opened:
        context.close()
    assert not wrong


def numbers(panel: Any) -> dict[str, list[str]]:
    """The table of a cell: name → values without and with, without their intervals."""
    rows = [row.locator("th, td").all_inner_texts() for row in panel.locator("tbody tr").all()]
    return {name: [value.partition("\n")[0] for value in values] for name, *values in rows}


def cell_of(shown: Any, scale: float, rate: float) -> Any:
    return shown.locator(f"[data-cell='{SCALES.index(scale) * len(RATES) + RATES.index(rate)}']")


@pytest.mark.parametrize(("scale", "rate", "kind"), [
    (0.3, 1.0, "Both train."), (0.003, 1.0, "Only BN trains."), (0.3, 100.0, "Neither trains."),
])  # fmt: skip
def test_a_cell_that_is_opened_shows_the_numbers_of_the_table(
    scale: float, rate: float, kind: str, shown: Callable[..., Any], made: Path
) -> None:
    opened = shown()
    cell_of(opened, scale, rate).click()
    panel = opened.locator("#cell")
    assert panel.locator("h3").inner_text() == f"Initial scale {scale:g}, learning rate {rate:g}"
    assert panel.locator(".said").inner_text().startswith(kind)
    told = numbers(panel)
    runs = pd.read_csv(made / "tables" / f"{MAP}.runs.csv")
    rows = pd.read_csv(made / "tables" / f"{MAP}.csv")
    here = runs[(runs["model.init_scale"] == scale) & (runs["optimizer.lr"] == rate)]
    for place, arm in enumerate(("none", "batch")):
        own = here[here["arm"] == arm].sort_values("seed")
        kept = own.loc[own["status"] == "finished", "run"]
        for name, (split, metric) in ENDS.items():
            curve = rows[rows["run"].isin(kept) & (rows["split"] == split) & (rows["metric"] == metric)]
            end = curve.sort_values("step").groupby("run")["value"].apply(lambda values: values.tail(5).mean()).mean()
            expected = f"{100 * end:.2f}%" if metric == "accuracy" else f"{end:.4g}"
            assert told[name][place].partition(" (")[0] == expected
        assert told["seeds that diverged"][place] == str((own["status"] == "diverged").sum())
        assert told["first run"][place] == own["run"].iloc[0]
    assert panel.locator("svg path.line").count() == 6
    assert f"model.init_scale={scale:g} optimizer.lr={rate:g} " in panel.locator("code").inner_text()


def test_one_moves_over_the_map_with_the_arrow_keys(shown: Callable[..., Any]) -> None:
    opened = shown()
    title = opened.locator("#cell h3")
    cell_of(opened, 0.03, 1.0).click()
    for key, expected in (("ArrowRight", (0.03, 10)), ("ArrowUp", (0.3, 10)), ("ArrowLeft", (0.3, 1)),
                          ("ArrowDown", (0.03, 1)), ("End", (0.03, 100)), ("ArrowRight", (0.03, 100)),
                          ("Home", (0.03, 0.1)), ("ArrowDown", (0.003, 0.1)), ("ArrowDown", (0.003, 0.1))):  # fmt: skip
        opened.keyboard.press(key)
        assert title.inner_text() == "Initial scale {:g}, learning rate {:g}".format(*expected), key
    assert opened.locator("[data-cell][tabindex='0']").count() == 1  # one stop of the tab key
    assert opened.evaluate("document.activeElement.getAttribute('aria-selected')") == "true"
    opened.keyboard.press("Tab")
    assert opened.evaluate("!document.activeElement.closest('.grid')")


def test_a_pointer_previews_a_cell_and_leaves_the_chosen_one(shown: Callable[..., Any]) -> None:
    opened = shown()
    title = opened.locator("#cell h3")
    cell_of(opened, 0.03, 1.0).click()
    cell_of(opened, 3.0, 100.0).hover()
    assert title.inner_text() == "Initial scale 3, learning rate 100"
    opened.locator("#map-title").hover()
    assert title.inner_text() == "Initial scale 0.03, learning rate 1"


def test_the_claims_are_filtered_and_found_by_their_address(shown: Callable[..., Any]) -> None:
    opened = shown()
    visible = opened.locator(".claim:visible")
    assert visible.count() == len(CLAIMS)
    opened.get_by_label("Kind").select_option("identity")
    exact = {claim.slug.replace("_", "-") for claim in CLAIMS if claim.rule.exact}
    assert {claim.get_attribute("id") for claim in visible.all()} == exact
    opened.get_by_label("Verdict").select_option("supported")
    assert [claim.get_attribute("id") for claim in visible.all()] == [IDENTITY.replace("_", "-")]
    assert opened.locator("output").inner_text() == f"1 of {len(CLAIMS)} claims"
    opened.locator(".finding a").first.click()  # of a claim that is filtered out
    claim = opened.locator(opened.url.partition("index.html")[2])
    assert claim.is_visible()
    assert claim.get_attribute("open") is not None
    assert visible.count() == len(CLAIMS)


def test_a_figure_is_loaded_when_its_claim_is_opened(shown: Callable[..., Any]) -> None:
    opened = shown()
    image = opened.locator(f"#{IDENTITY.replace('_', '-')} img")
    assert image.evaluate("image => image.naturalWidth") == 0
    opened.locator(f"#{IDENTITY.replace('_', '-')} > summary").focus()
    opened.keyboard.press("Enter")
    image.scroll_into_view_if_needed()
    opened.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=image.element_handle())


def test_in_the_dark_the_page_is_dark_and_lines_stay_apart(shown: Callable[..., Any]) -> None:
    seen = {}
    for scheme in ("light", "dark"):
        opened = shown(color_scheme=scheme)
        cell_of(opened, 0.3, 1.0).click()
        seen[scheme] = opened.evaluate("""() => [document.body, document.querySelector("#cell path.line.plain"),
            document.querySelector("#cell path.line.treated")].map((each, at) =>
            getComputedStyle(each)[at ? "stroke" : "backgroundColor"].match(/\\d+/g).map(Number))""")
    brightness = {scheme: [sum(colour) / 3 for colour in colours] for scheme, colours in seen.items()}
    assert brightness["light"][0] > 240
    assert brightness["dark"][0] < 40
    for paper, plain, treated in brightness.values():
        assert abs(plain - paper) > 150
        assert abs(treated - paper) > 50
    assert seen["light"][2] == seen["dark"][2]  # the treatment keeps its colour


@pytest.mark.parametrize("width", [320, 390])
def test_on_a_phone_nothing_scrolls_sideways(width: int, shown: Callable[..., Any]) -> None:
    opened = shown(viewport={"width": width, "height": 844}, has_touch=True)
    opened.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    cell_of(opened, 3.0, 100.0).tap()
    assert opened.locator("#cell h3").inner_text() == "Initial scale 3, learning rate 100"


@pytest.mark.parametrize(("scheme", "viewport"), [("light", DESKTOP), ("dark", PHONE)], ids=["light", "dark phone"])
def test_axe_finds_no_fault(scheme: str, viewport: dict[str, int], shown: Callable[..., Any]) -> None:
    """With a claim on the map and an identity opened to their last line."""
    from axe_playwright_python.sync_playwright import Axe

    opened = shown(viewport=viewport, color_scheme=scheme)
    opened.evaluate(
        """slugs => document.querySelectorAll(slugs.map(slug => `#${slug}, #${slug} details`).join())
        .forEach(each => { each.open = true; })""",
        ["higher-accuracy", IDENTITY.replace("_", "-")],
    )
    found = Axe().run(opened)
    faults = [(each["id"], [node["target"] for node in each["nodes"]][:3]) for each in found.response["violations"]
              if each["impact"] in ("serious", "critical")]  # fmt: skip
    assert not faults
