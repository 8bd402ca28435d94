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
        missing, others = found[NOT_RUN], "others" if parts else "normalisers"
        parts.append(f"no answer for {joined(missing) if len(missing) <= MOST_NAMED else f'{len(missing)} {others}'}")
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
    """A sentence for each normaliser: how often it has each verdict, and what it fails at."""
    said = []
    for normaliser, rows in frame.groupby("normaliser", sort=False):
        judged = rows[~rows["verdict"].isin([NOT_RUN, MEASURED])]
        if judged.empty:
            said.append(f"**{_begun(str(normaliser))}** has no verdict.")
            continue
        counts = judged["verdict"].value_counts()
        parts = [f"{kind} in {counts[kind]}" for kind in (SUPPORTED, WEAKER, DEPENDS, CONTRADICTED, INCONCLUSIVE)
                 if kind in counts]  # fmt: skip
        text = f"**{_begun(str(normaliser))}**, {style.count(len(judged), 'question')}: {', '.join(parts)}."
        failed = [f"{SAYS[row['claim']]} ({row['where']})" for row in judged.to_dict("records")
                  if row["verdict"] == CONTRADICTED]  # fmt: skip
        if failed:
            text += f" Contradicted: {'; '.join(failed)}."
        said.append(text)
    return said


def tuned(frame: pd.DataFrame) -> list[str]:
    """A sentence for each normaliser: the cell of the map at which it is asked where both are tuned."""
    said = {}
    for row in frame[frame["cells"].notna() & (frame["cells"] != "")].to_dict("records"):
        plain, own = str(row["cells"]).split(" | ")
        said.setdefault(f"{row['profile']}, plain", f"**The plain network** ({row['profile']}): {plain}.")
        said.setdefault(str(row["normaliser"]), f"**{_begun(str(row['normaliser']))}**: {own}.")
    return list(said.values())


def unanswered(frame: pd.DataFrame) -> list[str]:
    """A sentence for each reason for which a normaliser has no answer, with the places of the questions."""
    missing = frame[(frame["verdict"] == NOT_RUN) & frame["why"].notna() & (frame["why"] != "")]
    return [
        f"**{_begun(str(normaliser))}** ({'; '.join(dict.fromkeys(rows['where']))}): {why}."
        for (normaliser, why), rows in missing.groupby(["normaliser", "why"], sort=False)  # pyright: ignore
    ]


def _begun(normaliser: str) -> str:
    """The name at the beginning of a sentence; a user's own stays as it is."""
    name = long(normaliser)
    return name[:1].upper() + name[1:] if normaliser in LONG else name


def interval(row: dict) -> Interval:
    """The estimate of a row of the table."""
    low, high = (float(row[end]) if not pd.isna(row[end]) else float("nan") for end in ("low", "high"))
    return Interval(float(row["estimate"]), low, high, int(row["n"]))
