"""How the experiments differ from the paper's, each said once; the claims link here."""

from __future__ import annotations

import itertools

from bnrepro.claims import Claim, declared
from bnrepro.report.judge import Found, anchor

TITLE = "Where the experiments differ from the paper's"


def section(found: Found) -> str:
    """An item for each experiment whose claims deviate. A text that goes on from an earlier one is its addition."""
    said: dict[str, str] = {}
    items = []
    for experiment, claims in _by_experiment(found).items():
        parts = []
        for text in dict.fromkeys(claim.deviation for claim in claims):
            links = ", ".join(f"[{claim.slug}](#{anchor(claim.slug)})" for claim in claims if claim.deviation == text)
            parts.append(f"{links}: {_shown(text, experiment, said)}.")
            said.setdefault(text, experiment)
        items.append(f"- **{experiment}**. " + " ".join(parts))
    return f"## {TITLE}\n\n" + "\n".join(items)


def of(claim: Claim) -> str:
    """What a claim says of it in its own section."""
    if not claim.deviates:
        return f"Deviation: {claim.deviation}."
    return f"Deviation: listed [with its experiment](#{TITLE.lower().replace(' ', '-').replace(chr(39), '')})."


def _by_experiment(found: Found) -> dict[str, list[Claim]]:
    """The claims that deviate, by experiment, in the order of the report."""
    where = {
        claim.slug: name for name, experiment in declared(found.results.own).items() for claim in experiment.claims
    }
    grouped: dict[str, list[Claim]] = {}
    for claim, _ in found:
        if claim.deviates:
            grouped.setdefault(where[claim.slug], []).append(claim)
    return grouped


def _shown(text: str, experiment: str, said: dict[str, str]) -> str:
    """``text``, or what it adds to the one of those ``said`` (by which experiment) with which it shares most.

    One clause in common is no reason to send the reader there, unless the other text has no more.
    """
    base = max(said, key=lambda other: _shared(text, other), default="")
    shared = _shared(text, base)
    if shared < min(2, len(base.split("; "))):
        return text
    same = "the same" if said[base] == experiment else f"as {said[base]}"
    return "; ".join([same, *text.split("; ")[shared:]])


def _shared(text: str, other: str) -> int:
    """How many clauses two texts share from their beginning."""
    pairs = zip(text.split("; "), other.split("; "), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
