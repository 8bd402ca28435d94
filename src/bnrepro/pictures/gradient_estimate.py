"""Error of the mini-batch's gradient, and examples a second, against the size of the batch."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from bnrepro.claims.style import OTHER_COLOURS, PAGE, band, canvas, panel_letters
from bnrepro.tables import Results

SHOWN = ("error", "examples per second")


def figures(results: Results) -> dict[str, Figure]:
    """Two panels on logarithmic axes, medians and ranges of the repetitions."""
    found = results.measured("gradient_estimate")
    if found is None:
        return {}
    errors, speeds = (
        found.frame[found.frame["metric"] == metric].pivot(index="batch", columns="repetition", values="value")
        for metric in SHOWN
    )
    figure, [axes] = canvas(PAGE, 2.4, 1, 2)
    band(axes[0], errors, "none", label=f"measured, {errors.shape[1]} networks")
    sizes = errors.index.to_numpy(dtype=float)
    # The line of the rule, through the middle of what was measured.
    level = np.exp(np.log(errors.median(axis=1).to_numpy() * np.sqrt(sizes)).mean())
    axes[0].plot(sizes, level / np.sqrt(sizes), "--", color=OTHER_COLOURS[0], label="one over the root of the size")
    axes[0].set(ylabel="relative error of the gradient")
    band(axes[1], speeds, "none", label="in a batch")
    single = float(speeds.median(axis=1).iloc[0])
    axes[1].axhline(single, color=OTHER_COLOURS[0], linestyle=":", label=f"{speeds.index[0]} at a time")
    axes[1].set(ylabel="examples a second")
    for panel in axes:
        panel.set(xscale="log", yscale="log", xlabel="examples a batch", xlim=(sizes[0], sizes[-1]))
        panel.set_xticks(sizes[::2], [f"{size:,.0f}" for size in sizes[::2]])
        panel.minorticks_off()
        panel.legend(loc="best")
    panel_letters(list(axes), ["error against the full gradient", "speed of forward and backward pass"])
    figure.suptitle(f"{found.frame['data'].iloc[0]}; without BN; median and range", fontsize=8)
    return {"gradient_estimate_error": figure}
