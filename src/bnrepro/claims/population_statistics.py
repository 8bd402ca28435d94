"""§3.1, Algorithm 2: at inference an example's scores do not depend on the rest of its batch."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnrepro.claims import style
from bnrepro.claims.claim import Claim, Evidence, Experiment, Inapplicable, measurement_of
from bnrepro.stats import Estimate, Within, exact, paired_difference
from bnrepro.tables import Results

NAME = "population_statistics"
ALGORITHM, MOVING, BATCH = "Algorithm 2", "moving average", "test batch"
# The lines of the fixed maps coincide: style and width tell them apart, not colour alone. The wide line is drawn first.
LOOKS = {
    MOVING: ("moving average of training", style.OTHER_COLOURS[2], "-", 2.6),
    ALGORITHM: ("population, Algorithm 2", "#000000", "--", 1.1),
    BATCH: ("statistics of the test batch", style.colour("batch"), "-", 1.1),
}


def population_statistics(results: Results) -> Evidence:
    frame = measurement_of(results, NAME).frame
    if ALGORITHM not in set(frame["statistics"]):
        raise Inapplicable("none of the trained networks keeps statistics of mini-batches")
    normalised = frame[frame["statistics"] != "none"]
    [arm] = normalised["arm"].unique()
    largest = normalised.groupby(["statistics", "metric", "batch"])["value"].max()
    worst, moving = (float(largest[statistics, "dependence"].max()) for statistics in (ALGORITHM, MOVING))
    sizes = sorted(normalised["batch"].unique())
    shown = [sizes[0], sizes[len(sizes) // 2], sizes[-1]]
    estimates = [
        Estimate("largest change of a score, Algorithm 2", arm, exact(worst), True, "number"),
        Estimate("largest change of a score, moving average", arm, exact(moving), unit="number"),
    ]
    changed = normalised[(normalised["statistics"] == BATCH) & (normalised["metric"] == "changed")]
    for size in shown:
        share = paired_difference(changed.loc[changed["batch"] == size, "value"])
        estimates.append(
            Estimate(f"predictions that change, statistics of {size} test examples", arm, share, unit="share")
        )
    accuracies = _by_seed(normalised)
    for name in [(ALGORITHM, sizes[-1]), (MOVING, sizes[-1]), *((BATCH, size) for size in shown)]:
        estimates.append(
            Estimate(f"test accuracy, {_label(*name)}", arm, paired_difference(accuracies[name]), unit="share")
        )
    exactly = accuracies[ALGORITHM, sizes[-1]]
    for name in [(MOVING, sizes[-1]), *((BATCH, size) for size in shown)]:
        lost = paired_difference(accuracies[name] - exactly)
        estimates.append(Estimate(f"test accuracy, {_label(*name)} minus Algorithm 2", arm, lost, unit="difference"))
    folded = float(largest["folded", "disagreement"].max())
    estimates.append(Estimate("largest error of the folded network's scores", arm, exact(folded), unit="number"))
    notes = [
        "every example was judged twice at each batch size, at the same place in the batch and among others; a change "
        "is given ÷ the largest score",
    ]
    listed = accuracies.set_axis([_label(*name) for name in accuracies.columns], axis=1)
    return Evidence(estimates, notes, listed)


def _by_seed(frame: pd.DataFrame) -> pd.DataFrame:
    """Test accuracies: seeds (rows) × (statistics, batch size) (columns)."""
    return frame[frame["metric"] == "accuracy"].pivot(index="seed", columns=["statistics", "batch"], values="value")


def _label(statistics: object, batch: object) -> str:
    return f"statistics of {batch} test examples" if statistics == BATCH else str(statistics)


CLAIMS = (
    Claim(
        slug="population_statistics",
        group="B",
        origin="paper",
        sentence="With population statistics, the network's output for an example does not depend on the "
        "examples beside it.",
        source="§3.1, Algorithm 2",
        metric="largest change of an example's scores as the rest of its test batch is exchanged, batches of 2 to 256",
        unit="number",
        network="MLP of §4.1",
        rule=Within(0.0),
        paper="an algorithm; no number is given",
        deviation="none in the algorithm: the population is the training set in mini-batches of the size trained with. "
        "Accuracies on the test examples that make whole batches of the largest size",
        deviates=False,
        figure="population_statistics_accuracy",
        numbers=population_statistics,
    ),
)


def figures(results: Results) -> dict[str, Figure]:
    """Test accuracy and changed predictions against the size of the test batch; median and range of the seeds."""
    found = measurement_of(results, NAME)
    frame = found.frame
    if BATCH not in set(frame["statistics"]):
        return {}
    sizes = sorted(frame.loc[frame["statistics"] == BATCH, "batch"].unique())
    figure, [axes] = style.canvas(style.PAGE, 2.5, 1, 2)
    for panel, metric in zip(axes, ("accuracy", "changed"), strict=True):
        for statistics in LOOKS:
            rows = frame[(frame["statistics"] == statistics) & (frame["metric"] == metric)]
            _draw(panel, statistics, rows.pivot(index="batch", columns="seed", values="value"), sizes)
        panel.set(xscale="log", xlim=(sizes[0], sizes[-1]), xlabel="test examples a batch")
        panel.set_xticks(sizes, [str(size) for size in sizes])
        panel.minorticks_off()
    axes[0].set(ylabel="test accuracy, %")
    axes[1].set(ylabel="predictions that change, %")
    style.panel_letters(axes, ["accuracy", "as the others in the batch are exchanged"])
    fixed = frame[frame["statistics"].isin([MOVING, ALGORITHM]) & (frame["metric"] == "dependence")]
    if (fixed["value"] == 0).all():
        axes[1].annotate("exactly 0", (sizes[0], 0), (4, 4), textcoords="offset points", **style.NOTE)
    style.legend_below(figure, axes[0], len(LOOKS))
    networks = style.summary("median and range", frame["seed"].nunique(), "trained network")
    figure.suptitle(f"{found.meta['data']}; {networks}")
    return {"population_statistics_accuracy": figure}


def _draw(panel: Axes, statistics: str, curves: pd.DataFrame, sizes: list[int]) -> None:
    """Percentages against the batch size. A fixed map is evaluated at one size and drawn as a level line."""
    label, shade, dashes, width = LOOKS[statistics]
    percent = 100 * curves
    if len(percent) == 1:
        percent = pd.concat([percent.set_axis([size]) for size in sizes])
    style.median_and_range(panel, percent, dashes, shade, linewidth=width, label=label)


DECLARED = Experiment(NAME, 200, CLAIMS, figures, any_normaliser=False)
