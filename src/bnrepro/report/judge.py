"""All judgements on one results folder, as claims.json and on the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from bnrepro.claims import Claim, Judgement, asked_of, declared
from bnrepro.stats import Interval, holm, p_value, words
from bnrepro.tables import Results, Watched

MARKS = {
    "supported": "✔", "weaker": "≈", "depends": "±", "contradicted": "✘", "inconclusive": "?", "measured": "·",
    "not run": "–",
}  # fmt: skip
OWN = "own"
GROUPS = {
    OWN: "Your own claims",
    "A": "What it does to training",
    "B": "Exact properties",
    "C": "Limits and costs",
    "D": "Why it works",
}


@dataclass(frozen=True)
class Found:
    """Every claim that is asked of a treatment, with its judgement; by slug, the tables that were ``read`` for it."""

    results: Results
    pairs: tuple[tuple[Claim, Judgement], ...]
    read: Mapping[str, Watched] = field(default_factory=dict)

    def __iter__(self) -> Iterator[tuple[Claim, Judgement]]:
        return iter(self.pairs)


def judge(results: Results) -> Found:
    """Judge every claim that is asked of the treatment."""
    asked = results.treatment
    known = declared(results.own)
    claims = [claim.asked_of(asked) for name in asked_of(asked, results.own) for claim in known[name].claims]
    read = {claim.slug: Watched.over(results) for claim in claims}
    return Found(results, tuple((claim, claim.judge(read[claim.slug])) for claim in claims), read)


def adjusted(found: Found) -> dict[str, tuple[float, float]]:
    """By slug, the two-sided p of the claims that one Student interval decides, and Holm's for all of them together.

    Not among them are exact claims, those with no margin, those over a map, which three shares decide, and those whose
    interval is not Student's: shares of seeds, and quantities read off a grid.
    """
    raw = {}
    for claim, judgement in found:
        primary, null = judgement.primary, claim.rule.tested
        p = p_value(primary.interval, null, primary.unit == "ratio") if primary and null is not None else None
        if p is not None:
            raw[claim.slug] = p
    together = holm(raw)
    return {slug: (p, together[slug]) for slug, p in raw.items()}


def written_p(p: float) -> str:
    """``0.031``, ``< 0.0001``."""
    return f"{p:.2g}" if p >= 1e-4 else "< 0.0001"


def as_json(found: Found) -> dict[str, Any]:
    """By slug: verdict, metric, network, data, value, low, high, n and what it counts, p, margin, paper, deviation,
    notes, estimates; six digits.
    """
    tested = adjusted(found)
    return {
        claim.slug: {
            "verdict": judgement.verdict,
            **({"words": judgement.evidence.words} if judgement.evidence.words else {}),
            "metric": claim.metric,
            "network": claim.network,
            "data": data_of(found.results, claim.slug),
            **_numbers(judgement.primary.interval if judgement.primary else None),
            "counts": judgement.counts,
            **({"p": _rounded(tested[claim.slug][0]), "p_holm": _rounded(tested[claim.slug][1])}
               if claim.slug in tested else {}),
            "margin": claim.rule.margin,
            "paper": claim.paper,
            "deviation": claim.deviation,
            "notes": judgement.notes,
            "estimates": [
                {"name": each.name, "arm": each.arm, **_numbers(each.interval), "unit": each.unit,
                 "primary": each.primary, **({"said": each.said} if each.said else {})}
                for each in judgement.estimates
            ],
        }
        for claim, judgement in found
    }  # fmt: skip


def _numbers(interval: Interval | None) -> dict[str, float | int | None]:
    if interval is None:
        return {"value": None, "low": None, "high": None, "n": 0}
    return {part: _rounded(getattr(interval, part)) for part in ("value", "low", "high")} | {"n": interval.n}


def _rounded(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


# -------------------------------------------------------------------------------------------------- for readers


def anchor(slug: str) -> str:
    """A claim's heading in the report, as a link addresses it."""
    return slug.replace("_", "-")


def marked(verdict: str) -> str:
    """A verdict with its mark."""
    return f"{MARKS[verdict]} {verdict}"


def deciding(judgement: Judgement) -> tuple[str, str]:
    """The primary estimate with its interval, and its n, ``5 seeds``; a dash where there is none."""
    primary = judgement.primary
    if primary is None:
        return "–", "–"
    n, counts = primary.interval.n, judgement.counts
    return words(primary), f"{n:,} {counts if n != 1 else counts.removesuffix('s')}" if counts else "–"


def setting(found: Found, claim: Claim) -> str:
    """The network and the data of a claim: ``MLP of §4.1; MNIST, binary``."""
    return "; ".join(part for part in (claim.network, data_of(found.results, claim.slug)) if part)


def data_of(results: Results, slug: str) -> str:
    """The data of the experiment whose tables judge a claim; empty if there are none, as for an exact property."""
    [name] = [name for name, each in declared(results.own).items() if slug in {claim.slug for claim in each.claims}]
    made = results.tables(name) or results.measured(name)
    return made.data_label if made is not None else ""


def print_verdicts(found: Found, console: Console) -> None:
    """Print a table of the verdicts."""
    table = Table(title=f"{found.results.treatment} against none")
    for column in ("claim", "here (95% interval)", "n", "verdict"):
        table.add_column(column, overflow="fold", no_wrap=column in ("claim", "verdict"))
    for claim, judgement in found:
        table.add_row(claim.slug, *deciding(judgement), judgement.verdict)
    console.print(table)
