"""The choice of the Inception's learning rate. It carries no claim; what was best stands in the report."""

from __future__ import annotations

from bnrepro.claims.base import Experiment, Results
from bnrepro.stats.selection import RATE, best_by, ends

EXPERIMENT = "inception_tuning"


def section(results: Results) -> str:
    """Validation accuracy at every rate, without Batch Normalization."""
    tables = results.tables(EXPERIMENT)
    assert tables is not None
    runs = ends(tables, "validation")
    best = best_by(runs, RATE)
    lines = [
        "## The Inception's learning rate",
        "",
        "Without Batch Normalization, at half the length of inception_training, on seeds of its own"
        + (f": **{best:g}** is best." if best is not None else ": it diverged at every rate."),
        "",
        "| learning rate | final validation accuracy, mean of the seeds | seeds | diverged |",
        "|---|---|---|---|",
    ]
    for rate, group in runs.groupby(RATE):
        lost = int((group["status"] == "diverged").sum())
        mean = "–" if group["end"].isna().all() else f"{100 * float(group['end'].mean()):.2f}%"
        lines.append(f"| {float(str(rate)):g} | {mean} | {len(group)} | {lost} |")
    return "\n".join(lines)


DECLARED = Experiment(EXPERIMENT, (), lambda results: {}, section, exam=False)
