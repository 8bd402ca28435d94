"""Readers: mini-batches of samples that hardly differ."""

from __future__ import annotations

from matplotlib.figure import Figure

from bnrepro.claims import style
from bnrepro.claims.claim import Claim, Evidence, Experiment, measurement_of
from bnrepro.stats import Estimate, Measured, exact
from bnrepro.tables import Results

NAME = "similar_samples"
USUAL_EPSILON = 1e-5
GAIN, GRADIENT, NOISE = "gain of noise", "gain of the gradient", "noise in the output"
PANELS = {GAIN: "noise after ÷ before", NOISE: "change of the output (RMS)"}
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "D", "^")
SHADES = tuple(style.OTHER_COLOURS[index] for index in (0, 1, 4, 3))


def similar_samples(results: Results) -> Evidence:
    frame = measurement_of(results, NAME).frame
    # Rows are looked up by text, since a parsed number may differ from a literal in the last digit.
    keys = [frame["quantity"], *(frame[column].map("{:g}".format) for column in ("epsilon", "deviation"))]
    sizes = frame.set_index(keys)["size"]

    def estimate(name: str, epsilon: float, deviation: float, unit: str = "ratio", primary: bool = False) -> Estimate:
        label = f"{name} at σ = {deviation:g}"
        value = float(sizes[name, f"{epsilon:g}", f"{deviation:g}"])
        return Estimate(label, f"ε = {epsilon:g}", exact(value), primary, unit)

    estimates = [estimate(GAIN, USUAL_EPSILON, 0.0, primary=True)]
    estimates += [estimate(GAIN, USUAL_EPSILON, deviation) for deviation in (0.01, 1.0)]
    others = [epsilon for epsilon in sorted(set(frame["epsilon"])) if f"{epsilon:g}" != f"{USUAL_EPSILON:g}"]
    estimates += [estimate(GAIN, epsilon, 0.0) for epsilon in others]
    estimates.append(estimate(GRADIENT, USUAL_EPSILON, 0.0))
    estimates += [estimate(NOISE, epsilon, 0.0, "number") for epsilon in (USUAL_EPSILON, *others)]
    notes = [
        "the gain is 1/√(σ²+ε), so ε alone bounds it: at 1/√ε once the samples are alike",
        "noise in the output: root mean square change by noise of standard deviation 0.01; the output itself has at "
        "most 1",
    ]
    return Evidence(estimates, notes)


CLAIMS = (
    Claim(
        slug="similar_samples",
        group="C",
        origin="readers",
        sentence="A mini-batch of nearly identical samples is bad for BN, which amplifies their noise and the "
        "gradient.",
        source="readers",
        metric="standard deviation of noise after the layer ÷ before it, when the samples are identical, ε = 1e-5",
        unit="ratio",
        network="one layer",
        counts="",
        rule=Measured(),
        paper="says only that ε is there for numerical stability",
        deviation="none: a property of the formula, in float64, with noise of standard deviation 1e-9",
        deviates=False,
        figure="similar_samples_noise",
        numbers=similar_samples,
    ),
)


def figures(results: Results) -> dict[str, Figure]:
    """(a) the gain of small noise, (b) the effect of noise of standard deviation 0.01; one line per ε."""
    frame = measurement_of(results, NAME).frame
    figure, [axes] = style.canvas(style.PAGE, 2.6, 1, 2)
    smallest = frame.loc[frame["deviation"] > 0, "deviation"].min()
    for panel, (quantity, label) in zip(axes, PANELS.items(), strict=True):
        chosen = frame[frame["quantity"] == quantity]
        for index, (epsilon, rows) in enumerate(chosen.groupby("epsilon")):
            panel.plot(
                rows["deviation"], rows["size"], DASHES[index % 4], marker=MARKERS[index % 4], markersize=3,
                color=SHADES[index % 4], label=f"ε = {epsilon:g}",
            )  # fmt: skip
        panel.set_xscale("symlog", linthresh=smallest, linscale=0.6)
        panel.set_xticks([0, 1e-6, 1e-4, 1e-2, 1], ["0", "$10^{-6}$", "$10^{-4}$", "$10^{-2}$", "1"])
        panel.set_xticks([], minor=True)
        panel.set(yscale="log", xlabel="standard deviation of the samples, σ", ylabel=label)
    axes[1].axhline(1, **style.GUIDE)
    axes[1].text(1, 1.08, "the output itself", ha="right", va="bottom", **style.NOTE)
    style.panel_letters(axes, ["gain of the layer", "effect of noise of 0.01"])
    style.legend_below(figure, axes[0], 4)
    return {"similar_samples_noise": figure}


DECLARED = Experiment(NAME, 260, CLAIMS, figures, any_normaliser=False)
