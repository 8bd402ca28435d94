"""Judgements as claims.json and REPORT.md, page and README beside them; every number is in claims.json."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from bnrepro import store
from bnrepro.claims import EXPERIMENTS, Claim, Judgement, asked_of, beyond, of
from bnrepro.claims.markdown import table
from bnrepro.report import comparison, conclusions, deviations, drawing, page, readme
from bnrepro.report.judge import (
    GROUPS,
    OWN,
    Found,
    adjusted,
    anchor,
    as_json,
    deciding,
    judge,
    marked,
    setting,
    written_p,
)
from bnrepro.report.questions import OPEN_QUESTIONS
from bnrepro.stats import MEASURED, NOT_RUN, VERDICTS, words
from bnrepro.tables import Measured, Results, Tables

SHORTER = (
    " **Profile {}**: fewer and shorter runs than the deviations describe, which are about the full profile; "
    "`tables/*.runs.csv` lists the steps of every run."
)
TELLING = ("faster_training", "fewer_steps_inception", "tiny_batches")
"""The claims whose figures open the report: the map, the paper's headline, and a limit."""


def publish(
    folder: Path, treatment: str = "batch", profile: str = "full", beside: Path | None = None, own: Path | None = None
) -> Found:
    """Write claims.json, REPORT.md, the page and, if out of date, the figures below ``folder``.

    ``beside`` is the folder of Batch Normalization's own results, if ``treatment`` is compared with it; ``own`` is a
    user's folder with claims of theirs.
    """
    with store.alone_in(folder):
        results = Results(folder, treatment, own)
        draw(results, profile)
        return write_report(results, profile, beside)


def draw(results: Results, profile: str) -> None:
    """Draw the figures that are out of date; those of shorter profiles, which nobody prints, not as PDF."""
    drawing.publish(results, ("png", "svg") if profile in ("smoke", "quick") else ())


def write_report(results: Results, profile: str = "full", beside: Path | None = None) -> Found:
    """Write claims.json, REPORT.md and the page, and the README's parts if ``results`` are the committed ones.

    Two processes that write into one folder take turns, so that the files fit together. Raises
    :class:`~bnrepro.errors.StoreError`, before anything is written, if a table does not fit.
    """
    results.check()
    with store.alone_in(results.folder):
        found = judge(results)
        claims = json.dumps(as_json(found), indent=1, ensure_ascii=False)
        store.write_atomic(results.folder / "claims.json", claims + "\n")
        if beside is not None:
            folders = {"batch": beside, results.treatment: results.folder}
            comparison.write_reports(results.folder, profile, folders, results.own)
        store.write_atomic(results.folder / "REPORT.md", as_markdown(found, profile))
        page.write(found, profile)
        if results.folder.resolve() == store.committed_results().resolve():
            readme.write(found)
    return found


# ---------------------------------------------------------------------------------------------------- REPORT.md


def as_markdown(found: Found, profile: str = "full") -> str:
    """The whole report."""
    results = found.results
    known = of(results)
    asked = asked_of(results.treatment, results.own)
    names = list(dict.fromkeys([*asked, *(name for name in known if name not in EXPERIMENTS)]))
    used = {name: tables for name in names if (tables := results.tables(name)) is not None}
    measured = [made for name in names if (made := results.measured(name)) is not None]
    parts = ["# Report", conclusions.section(found), *_opening(found, used, profile)]
    for group, title in GROUPS.items():
        members = [(claim, judgement) for claim, judgement in found if claim.group == group]
        if members:
            parts.append(f"## {title}")
            if group == OWN:
                parts.append("Judged by rules that you declared; this repository has no record of when.")
            parts += [_claim(claim, judgement, setting(found, claim)) for claim, judgement in members]
    parts.append(deviations.section(found))
    made = {each.name for each in measured} | {name for name, tables in used.items() if len(tables.runs)}
    for name in names:
        section = known[name].section
        if section is not None and name in made:
            parts.append(section(results))
    parts += [text for name in names if name in made and (text := beyond.section(results, known[name]))]
    compared = comparison.read(results.folder)
    if compared is not None:
        parts.append(comparison.section(compared, profile))
    parts += [_questions(), _environment(used, measured), _tracing()]
    return "\n\n".join(parts) + "\n"


def _opening(found: Found, used: dict[str, Tables], profile: str) -> list[str]:
    """A two-minute summary: the verdicts, and the most telling figures."""
    data = ", ".join(sorted({tables.data_label for tables in used.values()})) or "no runs yet"
    tested = adjusted(found)
    rows = []
    for group, title in GROUPS.items():
        for claim, judgement in found:
            if claim.group == group:
                link = f"[{claim.sentence}](#{anchor(claim.slug)})"
                p = written_p(tested[claim.slug][1]) if claim.slug in tested else "–"
                rows.append([title, link, setting(found, claim), *deciding(judgement), p, marked(judgement.verdict)])
                title = ""
    telling = [claim for claim, judgement in found if claim.slug in TELLING and judgement.verdict != NOT_RUN]
    return [
        "## In two minutes",
        f"{len(found.pairs)} claims, each with an experiment. {_counts(found)}. Data: **{data}**. "
        f"Treatment: **{found.results.treatment}** against none. `make report` writes this file from the tables beside "
        "it, and reads every result from them." + (SHORTER.format(profile) if profile != "full" else ""),
        table(["", "claim", "on", "here (95% interval)", "n", "p (Holm)", "verdict"], rows),
        f"**p (Holm)**: two-sided, of the null of the claim's rule (its margin, where the rule has no other), adjusted "
        f"for all {len(tested)} claims that one Student interval decides; no verdict depends on it. The other claims "
        "have none: they are exact, or decided by the shares of a map, by a share of seeds or by a quantity that a "
        "grid bounds.",
        "**supported**: the whole 95% interval lies beyond the declared margin. **weaker**: it lies beyond zero, but "
        "not beyond the margin. **contradicted**: it lies wholly on the other side of zero. **inconclusive**: anything "
        "else. **measured**: the claim has no margin. Claims about the map (operating_points) are judged on the "
        "shares of its cells instead, and have a verdict of their own, **depends**: the claim holds in at least a "
        "tenth of the cells and fails in at least a tenth. Margins were committed before the runs; where a word or a "
        "rule changed after them, the claim says so. The rules of the map came after the first report, in which one "
        "of its cells had decided, and their thresholds were chosen with a pilot's map in view; both answers are "
        "printed. Arms are paired by seed: the same order of examples, and the same initial weights in the layers "
        "that they share, except for what the change itself alters.",
        *(f"![{claim.sentence}](figures/{claim.figure}.png)" for claim in telling),
    ]


def _counts(found: Found) -> str:
    """How many claims have which verdict, empirical and exact ones apart."""
    parts = []
    for kind, exact in (("empirical", False), ("exact properties", True)):
        verdicts = [judgement.verdict for claim, judgement in found if claim.rule.exact == exact]
        counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in VERDICTS if verdict in verdicts)
        if verdicts:
            parts.append(f"{len(verdicts)} {kind}: {counts}")
    return "; ".join(parts)


def _claim(claim: Claim, judgement: Judgement, on: str) -> str:
    shown, n = deciding(judgement)
    lines = [
        f"### {anchor(claim.slug)}",
        f"**{claim.sentence}** ({claim.source}; {on})",
        f"*{marked(judgement.verdict)}.* "
        + (f"{claim.metric}: **{shown}**{'' if n == '–' else f', {n}'}. " if judgement.primary else "")
        + (f"Rule: {claim.rule.sentence(claim.unit)}." if judgement.verdict not in (MEASURED, NOT_RUN) else ""),
        f"The paper: {claim.paper}.",
        deviations.of(claim),
    ]
    if judgement.evidence.words:
        lines.insert(3, f"**{judgement.evidence.words}**")
    if judgement.estimates:
        rows = [
            [f"**{each.name}**" if each.primary else each.name, each.arm, words(each),
             f"{each.interval.n:,}"]
            for each in judgement.estimates
        ]  # fmt: skip
        lines.append(table(["estimate (the one in bold decides)", "arm", "value (95% interval)", "n"], rows))
    lines += [f"- {note}" for note in judgement.notes]
    if judgement.verdict != NOT_RUN:
        lines.append(f"![{claim.sentence}](figures/{claim.figure}.png)")
    if judgement.seeds is not None:
        lines.append(f"<details><summary>every seed</summary>\n\n{_frame(judgement.seeds)}\n\n</details>")
    return "\n\n".join(lines)


def _frame(frame: pd.DataFrame) -> str:
    """A data frame with its index, to six significant digits."""
    cells = zip(frame.index, frame.to_numpy(), strict=True)
    rows = [[index, *(f"{value:.6g}" for value in values)] for index, values in cells]
    return table([str(frame.index.name or ""), *map(str, frame.columns)], rows)


def _questions() -> str:
    return "## Open questions\n\n" + table(["what the paper leaves open", "assumed here"], OPEN_QUESTIONS)


def _environment(used: dict[str, Tables], measured: list[Measured]) -> str:
    """Versions, commits, hardware and time, from the runs' own records, not from the machine that writes the report."""
    versions, machine = ["python", "torch", "numpy", "commit"], ["hardware", "cores"]
    rows = []
    for name, tables in used.items():
        columns = [tables.runs[key] for key in versions] + [tables.timing[key] for key in machine]
        made = [", ".join(sorted({str(value) for value in column})) for column in columns]
        diverged = int((tables.runs["status"] == "diverged").sum())
        hours = f"{tables.timing['seconds'].sum() / 3600:.2f}"
        rows.append([name, len(tables.runs), diverged, _engines(tables.runs), *made, hours])
    for each in measured:
        made = [each.meta[key] for key in (*versions, *machine)]
        rows.append([each.name, "measurement", "–", "–", *made, f"{each.meta['seconds'] / 3600:.4f}"])
    header = ["experiment", "runs", "diverged", "trained by", *versions, *machine, "hours of one process"]
    return "## Environment of the runs\n\n" + table(header, rows)


def _engines(runs: pd.DataFrame) -> str:
    """What trained the runs, one by one or in fleets of a width, and on which device."""
    engines = runs["engine"].fillna("single") if "engine" in runs else ["single"] * len(runs)
    return "; ".join(sorted({f"{engine}, {device}" for engine, device in zip(engines, runs["device"], strict=True)}))


def _tracing() -> str:
    return (
        "## From a number to its run\n\n"
        "`claims.json` holds every number of a claim, and the claim's own list those of each seed. The sections after "
        "the claims are computed from the same tables. The rows behind a number are in `tables/<experiment>.csv` under "
        "the run's name; `tables/<experiment>.runs.csv` holds that run's key and every value of its configuration. "
        "`make verify` trains one run of each experiment again for 200 steps and compares."
    )
