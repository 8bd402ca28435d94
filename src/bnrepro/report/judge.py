"""All judgements on one results folder, and how they are written: claims.json, amounts for readers, the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from bnrepro.claims import EXPERIMENTS, Claim, Judgement, asked_of
from bnrepro.stats import Interval, amount
from bnrepro.tables import Results

MARKS = {"supported": "✔", "weaker": "≈", "contradicted": "✘", "inconclusive": "?", "measured": "·", "not run": "–"}


@dataclass(frozen=True)
class Found:
    """Every claim that is asked of a treatment, with the judgement on it."""

    results: Results
    pairs: tuple[tuple[Claim, Judgement], ...]

    def __iter__(self) -> Iterator[tuple[Claim, Judgement]]:
        return iter(self.pairs)


def judge(results: Results) -> Found:
    """Ask every claim that the treatment can be asked."""
    claims = [claim for name in asked_of(results.treatment) for claim in EXPERIMENTS[name].claims]
    return Found(results, tuple((claim, claim.judge(results)) for claim in claims))


def as_json(found: Found) -> dict[str, Any]:
    """``{slug: {verdict, metric, value, low, high, n, margin, paper, deviation, estimates}}``, six digits."""
    return {
        claim.slug: {
            "verdict": judgement.verdict,
            "metric": claim.metric,
            **(_numbers(judgement.primary.interval) if judgement.primary else _numbers(None)),
            "margin": claim.rule.margin,
            "paper": claim.paper,
            "deviation": claim.deviation,
            "notes": judgement.notes,
            "estimates": [
                {
                    "name": each.name,
                    "arm": each.arm,
                    **_numbers(each.interval),
                    "unit": each.unit,
                    "primary": each.primary,
                }
                for each in judgement.estimates
            ],
        }
        for claim, judgement in found
    }


def _numbers(interval: Interval | None) -> dict[str, float | int | None]:
    if interval is None:
        return {"value": None, "low": None, "high": None, "n": 0}
    return {
        "value": _rounded(interval.value), "low": _rounded(interval.low), "high": _rounded(interval.high),
        "n": interval.n,
    }  # fmt: skip


def _rounded(value: float) -> float | None:
    return None if not math.isfinite(value) else float(f"{value:.6g}")


def anchor(slug: str) -> str:
    """Where in the report a claim stands."""
    return slug.replace("_", "-")


def print_verdicts(found: Found, console: Console) -> None:
    """The verdict table on the terminal."""
    table = Table(title=f"{found.results.treatment} against none")
    for column in ("claim", "here (95% interval)", "n", "verdict"):
        table.add_column(column, overflow="fold")
    for claim, judgement in found:
        primary = judgement.primary
        ours = amount(primary.interval, primary.unit) if primary else "–"
        table.add_row(claim.slug, ours, str(primary.interval.n if primary else 0), judgement.verdict)
    console.print(table)
