"""What each change of §4.2.1 gains: the difference it makes to leave it out."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from bnrepro import stats
from bnrepro.claims.style import COLUMN, canvas, colour
from bnrepro.tables import Results

WHOLE = "bn_x30"
CHANGES = {
    "x30_rate": "a learning rate 30 times as high",
    "x30_dropout": "no dropout",
    "x30_l2": "an L2 penalty a fifth as large",
    "x30_decay": "a decay six times as fast",
    "x30_lrn": "no local response normalisation",
    "x30_batches": "examples that meet afresh",
    "x30_distortions": "fewer photometric distortions",
}
"""Arm → the change that it undoes."""


def figures(results: Results) -> dict[str, Figure]:
    """A row a change: every seed as a dot, their mean with its interval."""
    tables, reference = results.tables("accelerations"), results.tables("inception_training")
    if tables is None or reference is None:
        return {}
    figure, [[axes]] = canvas(COLUMN + 1.2, 2.6)
    tops = {}
    for each in (reference, tables):
        maxima = stats.curve(each.metrics, "test", "accuracy").max()
        for run, row in each.runs.set_index("run").iterrows():
            tops[(row["arm"], row["seed"])] = maxima.get(run, np.nan) if row["status"] == "finished" else np.nan
    seeds = sorted(seed for arm, seed in tops if arm == WHOLE)
    for height, arm in enumerate(reversed(CHANGES)):
        gains = np.array([tops[(WHOLE, seed)] - tops.get((arm, seed), np.nan) for seed in seeds])
        gains = 100 * gains[np.isfinite(gains)]
        if not len(gains):
            continue
        found = stats.paired_difference(gains)
        axes.plot(gains, np.full(len(gains), height), "o", color="0.7", markersize=3)
        axes.plot([found.low, found.high], [height, height], color=colour(WHOLE))
        axes.plot(found.value, height, "o", color=colour(WHOLE), markersize=4)
    axes.axvline(0, color="0.6", linewidth=0.6, linestyle=":")
    axes.set_yticks(range(len(CHANGES)), list(reversed(CHANGES.values())))
    axes.set(xlabel="gain in maximum test accuracy, points")
    axes.set_title(f"{tables.data_label}; {tables.runs['seed'].nunique()} seeds, 95% interval", loc="left")
    return {"accelerations_gain": figure}
