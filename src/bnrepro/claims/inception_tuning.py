"""The choice of the Inception's learning rate. It carries no claim; the report shows the best rate."""

from __future__ import annotations

from bnrepro.claims.claim import Experiment, tables_of
from bnrepro.claims.markdown import table
from bnrepro.stats import BASELINE
from bnrepro.stats.selection import RATE, best_by, ends
from bnrepro.tables import Results

NAME = "inception_tuning"


def section(results: Results) -> str:
    """Validation accuracy at every rate, without Batch Normalization."""
    runs = ends(tables_of(results, NAME), "validation")
    runs = runs[runs["arm"] == BASELINE]
    best = best_by(runs, RATE)
    rows = []
    for rate, group in runs.groupby(RATE):
        lost = int((group["status"] == "diverged").sum())
        mean = "–" if group["end"].isna().all() else f"{100 * float(group['end'].mean()):.2f}%"
        rows.append([f"{float(str(rate)):g}", mean, len(group), lost])
    return (
        "## The Inception's learning rate\n\n"
        "Without Batch Normalization, at half the length of inception_training, on seeds of its own: "
        + (f"**{best:g}** is best." if best is not None else "it diverged at every rate." if len(runs) else "not run.")
        + "\n\n"
        + table(["learning rate", "final validation accuracy, mean of the seeds", "seeds", "diverged"], rows)
    )


DECLARED = Experiment(NAME, 80, section=section, any_normaliser=False)
