"""§3.2: a bias before the normalisation."""

from __future__ import annotations

from matplotlib.figure import Figure

from bnrepro.claims import style
from bnrepro.claims.claim import Claim, Evidence, Experiment, measurement_of
from bnrepro.stats import BASELINE, Estimate, Within, exact
from bnrepro.tables import Results

NAME = "bias_redundant"
RULE = Within(1e-10)
KERNELS = {"from scratch": "With BN, from scratch", "library": "With BN, library"}
CHANGE, GRADIENT = "change of the output", "gradient of the bias"
LABELS = {CHANGE: "relative change of the output", GRADIENT: "its gradient ÷ that without BN"}
LOOKS = {
    BASELINE: ("^", style.colour(BASELINE)),
    "from scratch": ("o", style.colour("batch")),
    "library": ("x", style.OTHER_COLOURS[4]),
}
LOWEST = 1e-18


def bias_redundant(results: Results) -> Evidence:
    frame = measurement_of(results, NAME).frame
    worst = float(frame.loc[frame["norm"] != BASELINE, "size"].max(skipna=False))
    estimates = [
        Estimate("largest relative effect or gradient of the bias", "both layers", exact(worst), True, "number")
    ]
    for (layer, quantity, norm), rows in frame.groupby(["layer", "quantity", "norm"], sort=False):
        if norm != BASELINE or quantity == CHANGE:
            largest = float(rows["size"].max(skipna=False))
            estimates.append(Estimate(f"{layer}: {quantity}", str(norm), exact(largest), unit="number"))
    notes = [
        f"gradients are relative to those of the same layer without BN, which are therefore 1 in the arm {BASELINE}",
        "what is left is rounding: it grows with the bias, whose digits displace those of the input",
    ]
    return Evidence(estimates, notes)


CLAIMS = (
    Claim(
        slug="bias_redundant",
        group="B",
        origin="paper",
        sentence="A bias in the layer before BN changes nothing and is not trained, since the mean that is subtracted "
        "contains it; β takes its place.",
        source="§3.2",
        metric="largest relative change of the output, and relative gradient of the bias, biases from 1e-3 to 1e3, "
        "linear and convolution, from-scratch layer and the library's, float64",
        unit="number",
        network="one layer",
        rule=RULE,
        paper="the bias is dropped",
        deviation="none",
        deviates=False,
        figure="bias_redundant_bias",
        numbers=bias_redundant,
    ),
)


def figures(results: Results) -> dict[str, Figure]:
    """Two panels against the size of the bias: its effect on the output, and its gradient; the larger of two layers."""
    frame = measurement_of(results, NAME).frame
    figure, [axes] = style.canvas(style.PAGE, 2.6, 1, len(LABELS))
    for panel, (quantity, label) in zip(axes, LABELS.items(), strict=True):
        chosen = frame[frame["quantity"] == quantity]
        for norm, (marker, shade) in LOOKS.items():
            worst = chosen[chosen["norm"] == norm].groupby("bias")["size"].max()
            # Zero has no place on a log axis; a gradient of exactly zero is drawn at its lower edge.
            panel.plot(
                worst.index, worst.clip(lower=LOWEST), style.line(norm), marker=marker, color=shade, markersize=4,
                fillstyle="none", label=KERNELS.get(norm, style.name(BASELINE)),
            )  # fmt: skip
        panel.axhline(RULE.margin, **style.GUIDE)
        panel.text(chosen["bias"].min(), 2 * RULE.margin, "tolerance", **style.NOTE)
        panel.set(
            xscale="log", yscale="log", xlabel="standard deviation of the bias", ylabel=label, ylim=(LOWEST, None)
        )
        panel.set_xticks([], minor=True)
    style.panel_letters(axes, list(LABELS))
    style.legend_below(figure, axes[0], 4)
    return {"bias_redundant_bias": figure}


DECLARED = Experiment(NAME, 180, CLAIMS, figures, any_normaliser=False)
