"""Which normaliser to use when, and what each costs a step: the comparison's verdicts in plain words."""

from __future__ import annotations

import pandas as pd

from bnrepro.claims import style
from bnrepro.claims.comparison.words import PLACES, SAYS, SITUATIONS
from bnrepro.claims.naming import BATCH, LONG
from bnrepro.stats import (
    CONTRADICTED,
    DEPENDS,
    INCONCLUSIVE,
    MEASURED,
    NOT_RUN,
    SUPPORTED,
    WEAKER,
    Interval,
    number,
)

KINDS = {
    SUPPORTED: "{}",
    WEAKER: "by less than the declared margin: {}",
    DEPENDS: "depending on scale and rate: {}",
    CONTRADICTED: "not so with {}",
    INCONCLUSIVE: "undecided: {}",
}
"""Verdict → how the names of those with it are introduced."""
MOST_NAMED = 3
"""Of the normalisers without runs."""
WORST_FIRST = (CONTRADICTED, NOT_RUN, INCONCLUSIVE, DEPENDS, WEAKER, SUPPORTED)
"""Where several rows must hold, the first of these that any has."""


def long(normaliser: str) -> str:
    """The name of a normaliser within a sentence; a user's own as it is called."""
    return LONG.get(normaliser, normaliser)


def joined(names: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def situations(frame: pd.DataFrame) -> list[str]:
    """A sentence for each need, in Markdown: who meets it, who does not, of whom the runs decide nothing."""
    return [sentence for need, rows in SITUATIONS if (sentence := _situation(frame, need, rows))]


def _situation(frame: pd.DataFrame, need: str, rows: tuple[tuple[str, str], ...]) -> str:
    verdicts: dict[str, list[str]] = {}
    for where, claim in rows:
        chosen = frame[(frame["where"] == where) & (frame["claim"] == claim)]
        for row in chosen.to_dict("records"):
            verdicts.setdefault(row["normaliser"], []).append(row["verdict"])
    if not verdicts:
        return ""
    if all(claim == "as_accurate_as_batch" for _, claim in rows):
        verdicts.pop(BATCH, None)  # the reference itself
    found: dict[str, list[str]] = {}
    for normaliser, each in verdicts.items():
        verdict = next(kind for kind in WORST_FIRST if kind in each)
        found.setdefault(verdict, []).append(long(normaliser))
    parts = [text.format(joined(found[kind])) for kind, text in KINDS.items() if kind in found]
    if SUPPORTED not in found and parts:
        parts.insert(0, "none for certain")
    if NOT_RUN in found:
        missing = found[NOT_RUN]
        parts.append(f"not run: {joined(missing) if len(missing) <= MOST_NAMED else f'{len(missing)} others'}")
    return f"**{need}:** {'; '.join(parts)}."


def costs(frame: pd.DataFrame) -> list[str]:
    """A sentence for each network: what a step costs with each normaliser, the cheapest first."""
    said = []
    for where, rows in frame[frame["claim"] == "step_cost"].groupby("where", sort=False):
        timed = rows[rows["verdict"] == MEASURED].sort_values("estimate")
        if timed.empty:
            continue
        each = [f"{long(row['normaliser'])} {number(row['estimate'], 'ratio')}" for row in timed.to_dict("records")]
        place = PLACES[str(where)]
        said.append(f"**{place[:1].upper()}{place[1:]}:** {', '.join(each)}.")
    return said


def portraits(frame: pd.DataFrame) -> list[str]:
    """A sentence for each normaliser: in how many places each of its verdicts stands, and what it fails at."""
    said = []
    for normaliser, rows in frame[frame["claim"] != "step_cost"].groupby("normaliser", sort=False):
        judged = rows[rows["verdict"] != NOT_RUN]
        if judged.empty:
            said.append(f"**{_begun(str(normaliser))}** has not been run.")
            continue
        counts = judged["verdict"].value_counts()
        parts = [f"{counts[kind]} {kind}" for kind in (SUPPORTED, WEAKER, DEPENDS, CONTRADICTED, INCONCLUSIVE)
                 if kind in counts]  # fmt: skip
        text = f"**{_begun(str(normaliser))}**: of {style.count(len(judged), 'question')} {', '.join(parts)}."
        failed = [f"{SAYS[row['claim']]} ({row['where']})" for row in judged.to_dict("records")
                  if row["verdict"] == CONTRADICTED and row["claim"] in SAYS]  # fmt: skip
        if failed:
            text += f" Contradicted: {'; '.join(failed)}."
        said.append(text)
    return said


def _begun(normaliser: str) -> str:
    """The name at the beginning of a sentence; a user's own stays as it is."""
    name = long(normaliser)
    return name[:1].upper() + name[1:] if normaliser in LONG else name


def interval(row: dict) -> Interval:
    """The estimate of a row of the table."""
    low, high = (float(row[end]) if not pd.isna(row[end]) else float("nan") for end in ("low", "high"))
    return Interval(float(row["estimate"]), low, high, int(row["n"]))
