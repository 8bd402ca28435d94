"""What we conclude: the verdicts in words, with nothing in them that is not in claims.json."""

from __future__ import annotations

from bnrepro.claims import Claim, Judgement
from bnrepro.report.judge import Found, anchor
from bnrepro.stats import CONTRADICTED, INCONCLUSIVE, MEASURED, NOT_RUN, SUPPORTED, WEAKER, amount

HEADINGS = {
    SUPPORTED: "stand{s}",
    WEAKER: "hold{s}, but less than the declared margin asks",
    CONTRADICTED: "fail{s} here",
    INCONCLUSIVE: "{is_} not decided by these runs",
    MEASURED: "{is_} measured, with no margin to pass",
    NOT_RUN: "{has} not been run",
}


def section(found: Found) -> str:
    """Which claims stand, which are weaker, which fail, and under which deviation: the paper's, then its readers'."""
    own = [(claim, judgement) for claim, judgement in found if claim.origin == "paper"]
    others = [(claim, judgement) for claim, judgement in found if claim.origin == "readers"]
    return "\n\n".join(
        [
            "## What we conclude",
            *_part(f"Of the paper's own {len(own)} claims", own),
            *_part(f"Of the {len(others)} that its readers add", others),
        ]
    )


def _part(beginning: str, members: list[tuple[Claim, Judgement]]) -> list[str]:
    paragraphs = []
    for verdict, heading in HEADINGS.items():
        chosen = [(claim, judgement) for claim, judgement in members if judgement.verdict == verdict]
        if not chosen:
            continue
        one = len(chosen) == 1
        words = heading.format(s="s" if one else "", is_="is" if one else "are", has="has" if one else "have")
        exact = sum(claim.rule.exact for claim, _ in chosen)
        if exact and not one:
            words += f", {exact} of them {'an exact property' if exact == 1 else 'exact properties'} of the algorithm"
        lines = [f"**{beginning}, {len(chosen)} {words}:**", *(_line(claim, judgement) for claim, judgement in chosen)]
        paragraphs.append("\n".join([lines[0], "", *lines[1:]]))
    return paragraphs


def _line(claim: Claim, judgement: Judgement) -> str:
    primary = judgement.primary
    place = anchor(claim.slug)
    if primary is None:
        return f"- {claim.sentence} ([{claim.slug}](#{place}))"
    shown = amount(primary.interval, primary.unit)
    deviation = f" Under this deviation: {claim.deviation}." if claim.deviates else ""
    count = f", n = {primary.interval.n:,}" if primary.interval.n > 1 else ""
    return f"- {claim.sentence} {_capitalised(claim.metric)}: {shown}{count} ([{claim.slug}](#{place})).{deviation}"


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
