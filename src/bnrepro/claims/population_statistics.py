"""§3.1, Algorithm 2: at inference an example is judged by itself."""

from __future__ import annotations

import pandas as pd

from bnrepro.claims.base import Claim, Estimate, Experiment, Judgement, exact, exact_verdict, measured
from bnrepro.pictures import population_statistics as pictures
from bnrepro.stats import NOT_RUN, Interval, paired_difference

NAME = "population_statistics"
TOLERANCE = 0.0
ALGORITHM, MOVING, BATCH = "Algorithm 2", "moving average", "test batch"


@measured(NAME)
def population_statistics(frame: pd.DataFrame) -> Judgement:
    if ALGORITHM not in set(frame["statistics"]):
        return Judgement(NOT_RUN, notes=["none of the trained networks keeps statistics of mini-batches"])
    normalised = frame[frame["statistics"] != "none"]
    [arm] = normalised["arm"].unique()
    largest = normalised.groupby(["statistics", "metric", "batch"])["value"].max()
    worst = float(largest[ALGORITHM, "dependence"].max())
    sizes = sorted(normalised["batch"].unique())
    shown = [sizes[0], sizes[len(sizes) // 2], sizes[-1]]
    estimates = [
        Estimate("largest change of a score, Algorithm 2", arm, exact(worst), True, "number"),
        Estimate(
            "largest change of a score, moving average", arm, exact(float(largest[MOVING, "dependence"].max())),
            unit="number",
        ),
    ]  # fmt: skip
    changed = normalised[(normalised["statistics"] == BATCH) & (normalised["metric"] == "changed")]
    for size in shown:
        share = paired_difference(changed.loc[changed["batch"] == size, "value"].to_numpy())
        estimates.append(
            Estimate(f"predictions that change, statistics of {size} test examples", arm, share, unit="share")
        )
    accuracies = by_seed(normalised)
    for name in [(ALGORITHM, sizes[-1]), (MOVING, sizes[-1]), *((BATCH, size) for size in shown)]:
        estimates.append(Estimate(f"test accuracy, {_called(*name)}", arm, _mean(accuracies[name]), unit="share"))
    exactly = accuracies[ALGORITHM, sizes[-1]]
    for name in [(MOVING, sizes[-1]), *((BATCH, size) for size in shown)]:
        lost = _mean(accuracies[name] - exactly)
        estimates.append(Estimate(f"test accuracy, {_called(*name)} minus Algorithm 2", arm, lost, unit="difference"))
    folded = float(largest["folded", "disagreement"].max())
    estimates.append(Estimate("largest error of the folded network's scores", arm, exact(folded), unit="number"))
    notes = [
        "every example was judged twice at each batch size, at the same place in the batch and among others; a change "
        "is given ÷ the largest score",
    ]
    listed = accuracies.set_axis([_called(*name) for name in accuracies.columns], axis=1)
    return Judgement(exact_verdict(worst, TOLERANCE), estimates, notes, listed)


def by_seed(frame: pd.DataFrame) -> pd.DataFrame:
    """Test accuracies: a row a seed, a column for every (statistics, batch)."""
    return frame[frame["metric"] == "accuracy"].pivot(index="seed", columns=["statistics", "batch"], values="value")


def _mean(values: pd.Series) -> Interval:
    return paired_difference(values.to_numpy())


def _called(statistics: object, batch: object) -> str:
    return f"statistics of {batch} test examples" if statistics == BATCH else str(statistics)


CLAIMS = (
    Claim(
        slug="population_statistics",
        group="B",
        sentence="With the population's statistics, what the network says about an example does not depend on the "
        "examples beside it.",
        source="§3.1, Algorithm 2",
        experiment=NAME,
        metric="largest change of an example's scores as the rest of its test batch is exchanged, batches of 2 to 256",
        rule="change exactly 0 at equal batch size",
        margin=TOLERANCE,
        paper="an algorithm; no number is given",
        deviation="none in the algorithm: the population is the training set in mini-batches of the size trained with. "
        "Accuracies on the test examples that make whole batches of the largest size",
        figure="population_statistics_accuracy",
        judge=population_statistics,
    ),
)

DECLARED = Experiment(NAME, CLAIMS, pictures.figures, exam=False)
