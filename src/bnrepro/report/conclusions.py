"""What we conclude: the verdicts in words, with no number that is not in claims.json."""

from __future__ import annotations

from bnrepro.claims import Claim, Judgement
from bnrepro.claims.naming import BATCH, short
from bnrepro.report.judge import Found, anchor, deciding
from bnrepro.stats import CONTRADICTED, DEPENDS, INCONCLUSIVE, MEASURED, NOT_RUN, SUPPORTED, WEAKER

SAID = {
    SUPPORTED: ("stands", "stand"),
    WEAKER: ("holds, but by less than the declared margin", "hold, but by less than the declared margin"),
    DEPENDS: (
        "depends on initial scale and learning rate: it holds in some cells and fails in others",
        "depend on initial scale and learning rate: they hold in some cells and fail in others",
    ),
    CONTRADICTED: ("fails here", "fail here"),
    INCONCLUSIVE: ("is not decided by these runs", "are not decided by these runs"),
    MEASURED: ("is measured, without a margin", "are measured, without a margin"),
    NOT_RUN: ("has not been run", "have not been run"),
}
"""Verdict → the words for one claim, and for several."""


def section(found: Found) -> str:
    """The claims by verdict, with their deviations: the paper's, its readers', a user's."""
    own, others, users = (
        [(claim, judgement) for claim, judgement in found if claim.origin == origin]
        for origin in ("paper", "readers", "own")
    )
    treatment = found.results.treatment
    asked = "" if treatment == BATCH else f", asked of {short(treatment)}"
    return "\n\n".join(
        [
            "## What we conclude",
            *_part(f"Of the paper's own {len(own)} claims{asked}", own),
            *_part(f"Of the {len(others)} claims that its readers add{asked}", others),
            *_part(f"Of your own claims{asked}", users),
        ]
    )


def _part(beginning: str, members: list[tuple[Claim, Judgement]]) -> list[str]:
    paragraphs = []
    for verdict, (of_one, of_several) in SAID.items():
        chosen = [(claim, judgement) for claim, judgement in members if judgement.verdict == verdict]
        if not chosen:
            continue
        words = of_one if len(chosen) == 1 else of_several
        exact = sum(claim.rule.exact for claim, _ in chosen)
        if exact and len(chosen) > 1:
            words += f", {exact} of them {'an exact property' if exact == 1 else 'exact properties'} of the algorithm"
        paragraphs.append(f"**{beginning}, {len(chosen)} {words}:**")
        paragraphs.append("\n".join(_line(claim, judgement) for claim, judgement in chosen))
    return paragraphs


def _line(claim: Claim, judgement: Judgement) -> str:
    primary = judgement.primary
    link = f"([{claim.slug}](#{anchor(claim.slug)}))"
    if primary is None:
        return f"- {claim.sentence} {link}"
    metric = claim.metric[:1].upper() + claim.metric[1:]
    shown, n = deciding(judgement)
    count = f", n = {n}" if primary.interval.n > 1 else ""
    deviation = f" Under this deviation: {claim.deviation}." if claim.deviates else ""
    elsewhere = f" {judgement.evidence.words}" if judgement.evidence.words else ""
    return f"- {claim.sentence} {metric}: {shown}{count} {link}.{elsewhere}{deviation}"
