"""How far the layer is from the identity, with the paper's γ and with the readers'."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from bnrepro.claims.style import COLUMN, OTHER_COLOURS, canvas, colour
from bnrepro.tables import Results

TOLERANCE, EPSILON = 1e-10, 1e-5
LABELS = {"paper": r"$\gamma=\sqrt{\sigma^2+\epsilon}$", "readers": r"$\gamma=\sigma$"}
MARKERS = {"linear": "o", "convolution": "x"}


def figures(results: Results) -> dict[str, Figure]:
    """Error against the features' standard deviation; the readers' γ on the curve that its formula gives."""
    found = results.measured("identity_recoverable")
    if found is None:
        return {}
    shades = {"paper": colour("batch"), "readers": OTHER_COLOURS[4]}
    figure, [[axes]] = canvas(COLUMN, 2.6)
    deviations = np.geomspace(found.frame["deviation"].min(), found.frame["deviation"].max(), 200)
    # 1 − σ/√(σ²+ε), in a form that keeps its digits where the two are almost equal.
    root = np.sqrt(deviations**2 + EPSILON)
    axes.plot(deviations, EPSILON / (root * (root + deviations)), color="0.7", linewidth=2.5, zorder=0)
    for (gamma, layer), rows in found.frame.groupby(["gamma", "layer"], sort=False):
        gamma, layer = str(gamma), str(layer)
        axes.plot(
            rows["deviation"], rows["error"], MARKERS[layer], color=shades[gamma], markersize=4,
            fillstyle="none", label=f"{LABELS[gamma]}, {layer}",
        )  # fmt: skip
    axes.axhline(TOLERANCE, color="0.6", linewidth=0.6, linestyle=":")
    axes.text(deviations[0], 2 * TOLERANCE, "tolerance", color="0.35", fontsize=7)
    axes.text(0.04, 0.03, r"$1-\sigma/\sqrt{\sigma^2+\epsilon}$", color="0.35", fontsize=7.5)
    axes.set(xscale="log", yscale="log", xlabel="standard deviation of the input, σ", ylim=(1e-17, 10))
    axes.set_ylabel("distance from the identity")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return {"identity_recoverable_error": figure}
