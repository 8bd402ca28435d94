"""Internal covariate shift over training: how far, and in what direction, earlier layers' updates move a gradient."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bnrepro import stats
from bnrepro.claims.style import PAGE, band, canvas, colour, panel_letters, thousands
from bnrepro.claims.sweep_plots import arms_of, style
from bnrepro.tables import Results


def figures(results: Results) -> dict[str, Figure]:
    """L2 change and cosine, over all layers but the first, and test accuracy: median and range of the seeds."""
    tables = results.tables("shift")
    if tables is None or "shift" not in tables.probes:
        return {}
    figure, [axes] = canvas(PAGE, 2.5, 1, 3)
    seen = tables.probes["shift"]
    seen = seen[seen["layer"] > 0]
    if seen.empty:
        return {}
    accuracy = stats.curve(tables.metrics, "test", "accuracy")
    for arm in arms_of(tables, results.treatment):
        rows = seen[seen["arm"] == arm]
        if rows.empty:
            continue
        band(axes[0], over_layers(rows, "distance"), arm, style=style(arm))
        redrawn = over_layers(rows, "redrawn_distance").median(axis=1)
        if not np.allclose(redrawn, over_layers(rows, "distance").median(axis=1), equal_nan=True):
            axes[0].plot(redrawn.index, redrawn, ":", color=colour(arm), label="and with the noise of the next step")
        band(axes[1], rows.groupby(["step", "run"])["cosine"].mean().unstack(), arm, style=style(arm))
        band(axes[2], accuracy[sorted(set(rows["run"]))], arm, style=style(arm))
    for panel, label in zip(axes, ("L2 change of the gradient", "cosine", "test accuracy"), strict=True):
        panel.set(xlabel="training steps", ylabel=label, xlim=(0, max(seen["step"].max(), 1)))
        thousands(panel)
    axes[0].set(yscale="log")
    axes[2].set(ylim=(max(0.0, _upper_part(accuracy)), 1.0))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    panel_letters(list(axes), ["how far it moves", "in what direction", "how the network does"])
    figure.suptitle(
        f"{tables.data_label}, {tables.runs['seed'].nunique()} seeds: a layer's gradient after the updates of the "
        "layers before it, over all layers but the first",
        fontsize=8,
    )
    return {"shift_gradients": figure}


def over_layers(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Geometric mean over the layers, steps × runs; NaN where one is 0."""
    logs = rows.assign(log=rows[column].where(rows[column] > 0).apply(np.log))
    return logs.groupby(["step", "run"])["log"].mean().unstack().apply(np.exp)


def _upper_part(accuracy: pd.DataFrame) -> float:
    """Where an axis begins that shows the end of training, whatever the start was."""
    late = accuracy[accuracy.index >= accuracy.index.max() / 10].min().min()
    return float(late) - 0.02 if np.isfinite(late) else 0.0
