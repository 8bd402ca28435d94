"""One HTML file from the template: style, script and data are in it; only the figures lie beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markdown_it import MarkdownIt
from markupsafe import Markup

from bnrepro import store
from bnrepro.claims import Claim, Judgement, style
from bnrepro.claims.claim import NotRun
from bnrepro.claims.naming import BATCH, LONG, short
from bnrepro.report import comparison
from bnrepro.report.judge import GROUPS, MARKS, Found, anchor, setting
from bnrepro.report.page import finding, wording
from bnrepro.report.page.origin import Origin, origin
from bnrepro.report.page.picture import Picture, picture
from bnrepro.report.page.plane import plane
from bnrepro.stats import BASELINE, MEASURED, NOT_RUN, VERDICTS, OnMap, words

NAME = "index.html"
FIGURE_TYPE = "svg"
KINDS = {"measured": "measured in experiments", "identity": "identity, exact"}
MAP_FIGURE = "operating_points_map"
OPEN = 2
"""Of the conclusions about normalisers: what to use when, and at what cost. The others unfold."""
_SIZE = re.compile(r'<svg[^>]* width="([\d.]+)pt" height="([\d.]+)pt"')


@dataclass(frozen=True)
class Figure:
    """A picture beside the page, with its size in CSS pixels, so that nothing moves when it is loaded."""

    file: str
    width: int
    height: int


@dataclass(frozen=True)
class Row:
    """What the template prints of one claim."""

    claim: Claim
    judgement: Judgement
    brief: str
    sources: list[str]
    kind: str
    setting: str
    number: str
    picture: Picture | None
    figure: Figure | None
    origin: Origin

    @property
    def anchor(self) -> str:
        return anchor(self.claim.slug)

    @property
    def mark(self) -> str:
        return MARKS[self.judgement.verdict]

    @property
    def rule(self) -> str:
        asked = self.judgement.verdict not in (MEASURED, NOT_RUN)
        return self.claim.rule.sentence(self.claim.unit) if asked else ""


def write(found: Found, profile: str = "full") -> Path:
    """Write the page beside the report. Returns its path."""
    path = found.results.folder / NAME
    store.write_atomic(path, page(found, profile))
    return path


def page(found: Found, profile: str = "full") -> str:
    """The page as HTML. It names the figures that exist below the results' folder."""
    results = found.results
    rows = [_row(claim, judgement, found) for claim, judgement in found]
    drawn, missing = None, ""
    try:
        drawn = plane(results, profile)
    except NotRun as reason:
        missing = reason.asked_of(results.treatment)
    compared = comparison.matrix(results.folder)
    return _environment().get_template("page.html").render(
        title=f"{LONG.get(results.treatment, results.treatment)}, reproduced",
        subject=short(results.treatment),
        own=results.treatment == BATCH,
        colours=[style.colour(arm) for arm in (BASELINE, results.treatment)],
        profile=profile,
        data="; ".join(sorted({sweep.data_label for read in found.read.values() for sweep in read.sweeps.values()})),
        sentences=finding.sentences(found),
        groups={title: members for group, title in GROUPS.items()
                if (members := [row for row in rows if row.claim.group == group])},
        verdicts=_counted(VERDICTS, [[row.judgement.verdict] for row in rows]),
        sources=_counted(wording.SOURCES, [row.sources for row in rows]),
        kinds=_counted(KINDS, [[row.kind] for row in rows]),
        total=len(rows),
        plane=drawn,
        missing=missing,
        map_figure=_figure(results.folder, MAP_FIGURE),
        compared=None if compared is None else _side_by_side(
            compared, {row.claim.slug: row.brief for row in rows}, results.folder
        ),
    )  # fmt: skip


def _environment() -> jinja2.Environment:
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    render = MarkdownIt("commonmark", {"html": False})
    found.filters |= {
        "inline": lambda text: Markup(render.renderInline(text)),
        "words": words,
        "frame": _frame,
    }
    found.globals |= {"KINDS": KINDS}
    return found


def _row(claim: Claim, judgement: Judgement, found: Found) -> Row:
    return Row(
        claim, judgement, wording.brief(claim, found.results.treatment), wording.sources(claim),
        "identity" if claim.rule.exact else "measured", setting(found, claim), _number(claim, judgement),
        picture(claim, judgement), _figure(found.results.folder, claim.figure), origin(claim, found),
    )  # fmt: skip


def _number(claim: Claim, judgement: Judgement) -> str:
    """The deciding number of a claim without its interval, which the picture shows."""
    primary = judgement.primary
    if primary is None:
        return ""
    value = primary.interval.value
    if isinstance(claim.rule, OnMap):
        return finding.share(claim.rule, judgement)
    if claim.rule.exact:
        return f"error {value:.0e}" if value else "error 0"
    return finding.single(value, primary.unit)


def _figure(folder: Path, name: str) -> Figure | None:
    """A figure below ``folder``; None if it has not been drawn."""
    path = folder / "figures" / f"{name}.{FIGURE_TYPE}"
    if not path.exists():
        return None
    with path.open(encoding="utf-8") as file:
        size = _SIZE.search(file.read(2000))
    assert size is not None, path
    return Figure(f"figures/{path.name}", *(round(float(points) * 96 / 72) for points in size.groups()))


def _counted(known: Sequence[str] | dict[str, str], members: list[list[str]]) -> list[tuple[str, str, int]]:
    """A filter's choices that any claim has: value, words, number of claims."""
    named = known if isinstance(known, dict) else {name: name for name in known}
    counts = {name: sum(name in each for each in members) for name in named}
    return [(name, said, counts[name]) for name, said in named.items() if counts[name]]


def _frame(frame: pd.DataFrame) -> dict[str, Any]:
    """A data frame with its index as header and rows of text, to six significant digits."""
    cells = zip(frame.index, frame.to_numpy(), strict=True)
    rows = [[str(index), *(f"{value:.6g}" for value in values)] for index, values in cells]
    return {"header": [str(frame.index.name or ""), *map(str, frame.columns)], "rows": rows}


def _side_by_side(compared: comparison.Matrix, briefs: dict[str, str], folder: Path) -> dict[str, Any]:
    """The comparison of normalisers below ``folder``: a row per question, a column per normaliser, its conclusions."""
    rows = [
        (briefs.get(row.slug, row.says) if row.where == comparison.REPORT else f"{row.says} ({row.place})",
         anchor(row.slug) if row.slug in briefs else "",
         [comparison.as_text(row.cells.get(name)) for name in compared.normalisers])
        for row in compared.rows
    ]  # fmt: skip
    return {
        "normalisers": list(compared.normalisers.values()),
        "rows": rows,
        "profiles": ", ".join(dict.fromkeys(compared.profiles.values())),
        "run": any(cell.verdict != NOT_RUN for row in compared.rows for cell in row.cells.values()),
        "fewer": comparison.FEWER, "mixed": "" if compared.alike else comparison.MIXED, "parts": compared.conclusions,
        "open": OPEN, "figure": _figure(folder, comparison.NAME) if compared.conclusions else None,
    }  # fmt: skip
