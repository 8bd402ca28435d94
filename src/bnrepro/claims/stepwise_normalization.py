"""§2: why the gradient has to run through the normalisation."""

from __future__ import annotations

from matplotlib.figure import Figure

from bnrepro.claims import convention_traps, style
from bnrepro.claims.claim import Claim, Evidence, Experiment, NotRun, measurement_of
from bnrepro.stats import Estimate, Within, exact
from bnrepro.tables import Results

NAME = "stepwise_normalization"
UPDATES = 1000
RULE = Within(1e-6, and_also=f"|b| grows in each of at least {UPDATES:,} updates")
DETACHED = "DetachedStatistics"
PAPER, BOTH, INSIDE, NONE = "mean outside", "mean and variance outside", "inside", "none"
# The wide lines are drawn first, so that both show where two coincide.
SHOWN = {
    NONE: ("without normalisation", style.colour("none"), "--", 1.1),
    INSIDE: ("BN: statistics inside the gradient", style.colour("batch"), "-", 2.6),
    PAPER: ("mean outside the gradient", style.OTHER_COLOURS[2], "-", 2.6),
    BOTH: ("mean and variance outside the gradient", style.OTHER_COLOURS[4], "-.", 1.1),
}


def stepwise_normalization(results: Results) -> Evidence:
    frame = measurement_of(results, NAME).frame
    rows = {str(name): chosen for name, chosen in frame.groupby("transform")}
    change = {name: float(chosen["change"].max(skipna=False)) for name, chosen in rows.items()}
    growth = {name: float(chosen.loc[chosen["update"] > 0, "growth"].min()) for name, chosen in rows.items()}
    updates = int(frame["update"].max())
    estimates = [Estimate("largest relative change of the loss", PAPER, exact(change[PAPER]), True, "number")]
    estimates += [
        Estimate("largest relative change of the loss", name, exact(change[name]), unit="number")
        for name in (BOTH, INSIDE, NONE)
    ]
    estimates += [
        Estimate(f"|b| after {updates:,} updates", name, exact(float(rows[name]["b"].iloc[-1])), unit="number")
        for name in (PAPER, BOTH, INSIDE, NONE)
    ]
    estimates += [
        Estimate("smallest growth of |b| in an update", name, exact(growth[name]), unit="number")
        for name in (PAPER, BOTH)
    ]
    gradient = float(rows[INSIDE]["gradient"].max())
    estimates.append(Estimate("largest gradient of b", INSIDE, exact(gradient), unit="number"))
    notes = [
        "inside: the gradient runs through the statistics, finds that b changes nothing, and is zero but for rounding"
    ]
    trained, remark = _in_training(results)
    estimates += trained
    notes.append(remark)
    # One update without growth refutes the claim; growth in fewer updates than declared leaves it open.
    grows = growth[PAPER] > 0
    return Evidence(estimates, notes, condition=None if grows and updates < UPDATES else grows)


def _in_training(results: Results) -> tuple[list[Estimate], str]:
    """What the same mistake costs a whole network, by the table of convention_traps."""
    try:
        frame = measurement_of(results, convention_traps.NAME).frame
    except NotRun as reason:
        return [], f"the same mistake in the training of a network: {reason}"
    lost = convention_traps.differences(frame, convention_traps.EVALUATION).get(DETACHED)
    steps = f"in {int(frame['steps'].max()):,} steps of training the network of §4.1 ({convention_traps.NAME})"
    if lost is None:
        return [], f"with the statistics outside the gradient, {steps} diverged"
    name = f"test accuracy, statistics outside the gradient minus inside, {steps}"
    return [Estimate(name, DETACHED, lost, unit="difference")], (
        f"the same mistake {steps} costs {-100 * lost.value:.0f} points of accuracy: "
        f"[{convention_traps.NAME}](#convention-traps) sets it beside other mistakes"
    )


CLAIMS = (
    Claim(
        slug="stepwise_normalization",
        group="B",
        origin="paper",
        sentence="If the gradient treats the statistics as constants, the normalisation cancels each update of"
        " a bias: the bias grows without bound while the loss stays the same.",
        source="§2",
        metric="largest relative change of the loss over 2,000 updates of b alone, one mini-batch, float64",
        unit="number",
        network="one layer",
        rule=RULE,
        paper="an argument, and the remark that it was observed in experiments",
        deviation="the loss (cross-entropy of the normalised values as logits) and the rate are ours; the paper "
        "names none",
        figure="stepwise_normalization_bias",
        numbers=stepwise_normalization,
    ),
)


def figures(results: Results) -> dict[str, Figure]:
    """The norm of b, and the loss, against the updates."""
    frame = measurement_of(results, NAME).frame
    figure, [[bias, loss]] = style.canvas(style.PAGE, 2.7, 1, 2)
    for transform, (label, shade, dashes, width) in SHOWN.items():
        rows = frame[frame["transform"] == transform]
        bias.plot(rows["update"], rows["b"], dashes, color=shade, linewidth=width, label=label)
        loss.plot(rows["update"], rows["loss"], dashes, color=shade, linewidth=width)
    bias.set(xlabel="updates of b", ylabel=r"$\|b\|$")
    # Linear up to 1, so that a bias that stays at zero shows beside one that reaches hundreds.
    bias.set_yscale("symlog", linthresh=1.0)
    bias.set_ylim(-0.1, None)
    loss.set(xlabel="updates of b", ylabel="loss (nats)")
    style.panel_letters([bias, loss], ["the bias", "the loss"])
    style.legend_below(figure, bias, 2)
    return {"stepwise_normalization_bias": figure}


DECLARED = Experiment(NAME, 210, CLAIMS, figures, any_normaliser=False)
