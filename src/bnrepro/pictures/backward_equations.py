"""Errors of the derivatives of §3 in units of gradcheck's tolerance."""

from __future__ import annotations

import math

from matplotlib.figure import Figure

from bnrepro.claims.style import OTHER_COLOURS, PAGE, canvas, colour
from bnrepro.tables import Results

CHECKS = {
    "gradcheck": ("from-scratch layer, finite differences", colour("batch"), "o"),
    "layer, library": ("from-scratch layer, library's layer", OTHER_COLOURS[0], "s"),
    "equations, autograd": ("equations as printed, autograd", OTHER_COLOURS[4], "D"),
    "statistics constant": ("μ, σ² taken for constants, finite differences", colour("none"), "x"),
}
DERIVATIVES = ("x̂", "σ²", "μ", "x", "γ", "β")
SYMBOLS = {"x̂": r"\hat{x}", "σ²": r"\sigma^2", "μ": r"\mu", "x": "x", "γ": r"\gamma", "β": r"\beta"}
LOWEST = 1e-15


def figures(results: Results) -> dict[str, Figure]:
    """A row a derivative, a mark a check: the worst over shapes and ε. Left of the line is within the tolerance."""
    found = results.measured("backward_equations")
    if found is None:
        return {}
    worst = found.frame.groupby(["check", "derivative"])["error"].max()
    figure, [[axes]] = canvas(PAGE, 2.5)
    for offset, (check, (label, shade, marker)) in enumerate(CHECKS.items()):
        rows = [(row, worst[check, each]) for row, each in enumerate(DERIVATIVES) if (check, each) in worst.index]
        axes.plot(
            # Derivatives that agree to the last digit have no place on a log axis: they stand at a tick called 0.
            [max(error, LOWEST) for _, error in rows], [row + 0.2 * (offset - 1.5) for row, _ in rows], marker,
            color=shade, markersize=4, label=label, linestyle="none",
        )  # fmt: skip
    axes.axvline(1, color="0.4", linewidth=0.8, linestyle=":")
    axes.text(1.5, len(DERIVATIVES) - 0.6, "tolerance", color="0.35", fontsize=7, va="bottom")
    for row in range(1, len(DERIVATIVES)):
        axes.axhline(row - 0.5, color="0.9", linewidth=0.5)
    axes.set_yticks(range(len(DERIVATIVES)), [rf"$\partial\ell/\partial {SYMBOLS[each]}$" for each in DERIVATIVES])
    axes.tick_params(axis="y", length=0, labelsize=9)
    axes.set(xscale="log", xlim=(LOWEST / 4, 1e6), ylim=(len(DERIVATIVES) - 0.5, -0.5))
    axes.set_xticks([LOWEST, *(10.0**power for power in range(-12, 7, 3))])
    axes.xaxis.set_major_formatter(lambda value, _: "0" if value == LOWEST else f"$10^{{{math.log10(value):.0f}}}$")
    axes.set_xlabel("largest error ÷ gradcheck's tolerance")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return {"backward_equations_error": figure}
