"""Estimates at a single operating point: printed without a verdict, beside the claims that the map judges."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bnrepro.claims.claim import Evidence, NotRun
from bnrepro.claims.markdown import table
from bnrepro.claims.naming import about
from bnrepro.stats import words
from bnrepro.tables import Results

Numbers = Callable[[Results], Evidence]


def section(results: Results, title: str, where: str, numbers: Mapping[str, Numbers]) -> str:
    """A section of the report: the estimates of every claim (slug → numbers) at one operating point."""
    rows, notes = [], []
    for slug, of in numbers.items():
        try:
            found = of(results)
        except NotRun as reason:
            notes.append(f"- {slug}: {reason.asked_of(results.treatment)}")
            continue
        for number, each in enumerate(found.estimates):
            label = f"[{slug}](#{slug.replace('_', '-')})" if number == 0 else ""
            rows.append([label, about(results.treatment, each.name), each.arm, words(each), f"{each.interval.n:,}"])
        notes += [f"- {slug}: {note}" for note in found.notes]
    header = ["claim", "estimate", "arm", "value (95% interval)", "n"]
    told = about(results.treatment, where)
    return "\n\n".join([f"## {title}", told, table(header, rows), "\n".join(notes)]).rstrip()
