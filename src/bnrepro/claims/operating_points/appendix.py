"""The report's section on the map: how it came to be judged so, and every cell."""

from __future__ import annotations

from bnrepro import stats
from bnrepro.claims.claim import NotRun
from bnrepro.claims.markdown import table
from bnrepro.claims.naming import short
from bnrepro.claims.operating_points import effects, one_cell, rules
from bnrepro.claims.operating_points.evidence import class_notes
from bnrepro.claims.operating_points.reading import DIGITS, NAME, Map, read
from bnrepro.stats import BASELINE, amount
from bnrepro.tables import Results

HISTORY = (
    "In the first report the claims on this page were judged at one initial scale and learning rate, those that are "
    "best for the network without normalisation, and a referee found that this choice decided most of the "
    "unfavourable verdicts. Since then they are judged over the whole plane. The rules were changed **after** the "
    "first report. Their margins are those of the first report; their thresholds on the shares of cells were chosen "
    "with the map of a pilot in view (other code, another device, 8 seeds, 50,000 steps). They were committed before "
    "the runs of this map began, which a test checks. Both answers are printed: that of the map decides, and those at "
    "the plain network's best cell and with both arms tuned stand beside it."
)


def section(results: Results) -> str:
    """The history of the rules, the classes of the cells, and the tables of all cells."""
    parts = ["## The map: initial scale × learning rate", HISTORY]
    for experiment in (NAME, DIGITS):
        try:
            found = read(results, experiment)
        except NotRun as reason:
            parts.append(f"{experiment}: {reason.asked_of(results.treatment)}.")
            continue
        notes = "\n".join(f"- {note}." for note in class_notes(found))
        title = f"{found.tables.data_label}, {found.budget:,} steps, n = {len(found.seeds)} seeds"
        summary = f"<details><summary>every cell: {title}</summary>"
        parts += [f"**{title}**", notes, f"{summary}\n\n{every_cell(found)}\n\n</details>"]
    return "\n\n".join(parts)


def every_cell(found: Map) -> str:
    """A row per cell: its class, each arm's accuracy, their difference, the ratio of steps; none is left out."""
    final = found.final("test", "accuracy")
    without, treated = found.pair(final)
    steps = effects.over_cells(effects.steps_to_accuracy, found, found.names.index)
    names = {stats.ONLY_BASELINE: f"only {BASELINE}", stats.ONLY_TREATMENT: f"only {found.treatment}"}
    rows = []
    for cell in found.names.index:
        scale, rate = float(cell[0]), float(cell[1])
        kind = str(found.classes.loc[cell])
        plain, mine = one_cell.row(without, cell), one_cell.row(treated, cell)
        ratio = None
        if kind == stats.BOTH:
            ratio = one_cell.speed(steps, (scale, rate))
        lost = found.tables.runs.set_index("run")["status"].reindex(found.names.loc[cell]).eq("diverged").sum()
        rows.append([
            f"{scale:g}", f"{rate:g}", names.get(kind, kind), amount(one_cell.mean(plain), "share"),
            amount(one_cell.mean(mine), "share"), amount(one_cell.mean(mine - plain), "difference"),
            amount(ratio, "ratio"), int(lost),
        ])  # fmt: skip
    head = [
        "initial scale", "rate", f"trains (≥ {rules.PASS:.0%})", f"test accuracy, {BASELINE}",
        f"test accuracy, {found.treatment}", f"difference, {short(found.treatment)} minus {BASELINE}",
        f"steps to {BASELINE}'s final accuracy, ratio", "runs that diverged",
    ]  # fmt: skip
    return table(head, rows)
