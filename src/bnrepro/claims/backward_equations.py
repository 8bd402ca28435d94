"""§3: the derivatives of the layer."""

from __future__ import annotations

import math

from matplotlib.figure import Figure

from bnrepro.claims import style
from bnrepro.claims.claim import Claim, Evidence, Experiment, measurement_of
from bnrepro.stats import Estimate, Within, exact
from bnrepro.tables import Results

NAME = "backward_equations"
RULE = Within(1.0, and_also="torch's gradcheck passes")
GRADCHECK, PRINTED, LIBRARY = "gradcheck", "equations, autograd", "layer, library"
CONTRAST = "statistics constant"
NAMES = {
    GRADCHECK: "from-scratch layer against finite differences",
    PRINTED: "the six equations as printed against autograd",
    LIBRARY: "from-scratch layer against the library's",
    CONTRAST: "a layer that takes μ, σ² for constants, against finite differences",
}
SHOWN = {
    GRADCHECK: ("from-scratch layer, finite differences", style.colour("batch"), "o"),
    LIBRARY: ("from-scratch layer, library's layer", style.OTHER_COLOURS[0], "s"),
    PRINTED: ("equations as printed, autograd", style.OTHER_COLOURS[4], "D"),
    CONTRAST: ("μ, σ² taken for constants, finite differences", style.colour("none"), "x"),
}
SYMBOLS = {"x̂": r"\hat{x}", "σ²": r"\sigma^2", "μ": r"\mu", "x": "x", "γ": r"\gamma", "β": r"\beta"}
LOWEST = 1e-15


def backward_equations(results: Results) -> Evidence:
    frame = measurement_of(results, NAME).frame
    checked = frame[frame["check"] != CONTRAST]
    worst = float(checked["error"].max(skipna=False))
    refused = int((checked["passed"] != 1).sum())
    estimates = [Estimate("largest error ÷ gradcheck's tolerance", "float64", exact(worst), True, "number")]
    for check, rows in frame.groupby("check", sort=False):
        name = f"{NAMES[str(check)]}: error ÷ tolerance"
        error = float(rows["error"].max(skipna=False))
        estimates.append(Estimate(name, "float64", exact(error), unit="number"))
    library = frame[frame["check"] == LIBRARY]
    relative = float(library["relative"].max(skipna=False))
    estimates.append(Estimate("relative difference to the library's", "float64", exact(relative), unit="number"))
    notes = [f"{refused} comparisons did not pass"] if refused else []
    notes.append(
        "finite differences have an error of their own, of about 1e-10 relative: the larger one shown is theirs"
    )
    return Evidence(estimates, notes, condition=not refused)


CLAIMS = (
    Claim(
        slug="backward_equations",
        group="B",
        origin="paper",
        sentence="The derivatives that the paper gives for the loss with respect to x̂, σ², μ, x, γ and β are those of "
        "its algorithm.",
        source="§3",
        metric="largest error ÷ gradcheck's own tolerance (1e-5 + 1e-3 · size), against finite differences, autograd "
        "and the library, 2-D to 4-D inputs, two ε, float64",
        unit="number",
        network="one layer",
        rule=RULE,
        paper="six equations",
        deviation="none",
        deviates=False,
        figure="backward_equations_error",
        numbers=backward_equations,
    ),
)


def figures(results: Results) -> dict[str, Figure]:
    """The largest error over shapes and ε: a row per derivative, a mark per check. The line is the tolerance."""
    worst = measurement_of(results, NAME).frame.groupby(["check", "derivative"])["error"].max()
    figure, [[axes]] = style.canvas(style.PAGE, 2.5)
    for offset, (check, (label, shade, marker)) in enumerate(SHOWN.items()):
        rows = [(row, worst[check, each]) for row, each in enumerate(SYMBOLS) if (check, each) in worst.index]
        axes.plot(
            # Zero has no place on a log axis: derivatives that agree to the last digit stand at a tick labelled 0.
            [max(error, LOWEST) for _, error in rows], [row + 0.2 * (offset - 1.5) for row, _ in rows], marker,
            color=shade, markersize=4, label=label, linestyle="none",
        )  # fmt: skip
    axes.axvline(RULE.margin, color="0.4", linewidth=0.8, linestyle=":")
    axes.text(1.5 * RULE.margin, len(SYMBOLS) - 0.6, "tolerance", color="0.35", fontsize=7.5, va="bottom")
    for row in range(1, len(SYMBOLS)):
        axes.axhline(row - 0.5, color="0.9", linewidth=0.5)
    axes.set_yticks(range(len(SYMBOLS)), [rf"$\partial\ell/\partial {symbol}$" for symbol in SYMBOLS.values()])
    axes.tick_params(axis="y", length=0, labelsize=8)
    axes.set(xscale="log", xlim=(LOWEST / 4, 1e6), ylim=(len(SYMBOLS) - 0.5, -0.5))
    axes.set_xticks([LOWEST, *(10.0**power for power in range(-12, 7, 3))])
    axes.xaxis.set_major_formatter(lambda value, _: "0" if value == LOWEST else f"$10^{{{math.log10(value):.0f}}}$")
    axes.set_xlabel("largest error ÷ gradcheck's tolerance")
    style.legend_below(figure, axes, 2)
    return {"backward_equations_error": figure}


DECLARED = Experiment(NAME, 190, CLAIMS, figures, any_normaliser=False)
