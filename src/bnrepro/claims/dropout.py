"""§3.4: whether Batch Normalization reduces the need for dropout, by the size of the training set."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from bnrepro.claims import style, sweeps
from bnrepro.claims.accelerations import WHOLE, gains_of
from bnrepro.claims.claim import Claim, Evidence, Experiment, NotRun, tables_of
from bnrepro.stats import BASELINE, Above, Estimate, paired_difference
from bnrepro.stats.selection import RATE, best_by, ends
from bnrepro.tables import Results, Tables

NAME, DROPOUT, SIZE = "dropout", "model.dropout", "data.train_examples"
INCEPTION = "x5_dropout"
"""The arm of accelerations that puts dropout back into the Inception with BN."""
ALL = float("inf")
"""The size that stands for all examples of a data set that cannot give several sizes."""
CHANGED = (
    "posed anew after the first runs, which had 5,000 training images and one learning rate, the best without BN, for "
    "both arms: they said that dropout gains more with BN"
)


def regularizes(results: Results) -> Evidence:
    tables = tables_of(results, NAME)
    arms = (BASELINE, results.treatment)
    chosen = at_best_rates(tables)
    gains: dict[float, dict[str, pd.Series]] = {}
    notes: list[str] = []
    for size in sorted(set(chosen["size"])):
        own = chosen[chosen["size"] == size]
        found = {arm: gain for arm in arms if (gain := gain_by_dropout(own[own["arm"] == arm])) is not None}
        if lost := [arm for arm in arms if arm not in found]:
            notes.append(f"{_words(size)}: {' and '.join(lost)} not run without dropout and with some; left out")
            continue
        gains[size] = {arm: gain for arm, (gain, _) in found.items()}
        picks = " and ".join(f"{best:g} ({arm})" for arm, (_, best) in found.items())
        notes.append(f"{_words(size)}: best dropout on validation is {picks}")
    each = pd.DataFrame({(size, arm): gain for size, by_arm in gains.items() for arm, gain in by_arm.items()}).dropna()
    if each.empty:
        raise NotRun(NAME, "; ".join(notes) or "no seed finished with both arms")
    apart = pd.DataFrame({size: each[size, BASELINE] - each[size, results.treatment] for size in gains})
    label = "gain in final test accuracy by dropout"
    estimates = [
        Estimate(
            f"{label}, without BN minus with, mean of {len(gains)} sizes", results.treatment,
            paired_difference(apart.mean(axis=1)), True, "difference",
        )
    ]  # fmt: skip
    for size in gains:
        if apart[size].any():  # else no arm is better with dropout, and the difference is 0 by construction
            gap = paired_difference(apart[size])
            name = f"{label}, without BN minus with, on {_words(size)}"
            estimates.append(Estimate(name, results.treatment, gap, unit="difference"))
        for arm in arms:
            if each[size, arm].any():
                own = paired_difference(each[size, arm])
                estimates.append(Estimate(f"{label} on {_words(size)}", arm, own, unit="difference"))
    estimates += _inception(results, notes)
    return Evidence(estimates, [*notes, CHANGED], apart.rename(columns=_words).rename_axis("seed"))


def at_best_rates(tables: Tables) -> pd.DataFrame:
    """The runs at the best learning rate on validation for their arm, size and dropout.

    Each has its ``size``, its final test accuracy as ``end``, and that on ``validation``. A rate at which a seed
    diverged is never the best; an arm, size and dropout without another rate is left out.
    """
    validation, test = (
        ends(tables, split).assign(size=lambda runs: runs[SIZE].astype(float).fillna(ALL))
        for split in ("validation", "test")
    )
    chosen = []
    for _, group in validation.groupby(["arm", "size", DROPOUT]):
        chosen += list(group.index[group[RATE] == best_by(group, RATE)])
    return test.loc[chosen].assign(validation=validation.loc[chosen, "end"])


def gain_by_dropout(runs: pd.DataFrame) -> tuple[pd.Series, float] | None:
    """By seed, the gain by the best dropout on validation over none; and that dropout.

    No dropout is among the choices: where dropout does not help, its gain is 0. None without runs to compare.
    """
    test, validation = (runs.pivot(index="seed", columns=DROPOUT, values=split) for split in ("end", "validation"))
    if 0.0 not in test or test.shape[1] < 2:
        return None
    best = float(str(validation.mean().idxmax()))
    return test[best] - test[0.0], best


def _words(size: float) -> str:
    return "all training examples" if size == ALL else f"{size:,.0f} training examples"


def _inception(results: Results, notes: list[str]) -> list[Estimate]:
    """What dropout gains the Inception with BN: the paper's own sentence, measured by accelerations."""
    try:
        gains, _, _ = gains_of(results, {INCEPTION: "no dropout"})
    except NotRun as reason:
        notes.append(f"the Inception's answer is not there: {reason}")
        return []
    return [
        Estimate("gain in maximum test accuracy by dropout, the Inception with BN", WHOLE, paired_difference(-gain),
                 unit="difference")
        for gain in gains.values()
    ]  # fmt: skip


CLAIMS = (
    Claim(
        slug="regularizes",
        group="A",
        origin="paper",
        sentence="Dropout gains less where there is Batch Normalization.",
        source="§3.4",
        metric="gain in final test accuracy by the best dropout on validation, without BN minus with, mean of the "
        "sizes of the training set",
        unit="difference",
        rule=Above(0.0),
        paper="dropout is removed from the Inception without loss; no experiment isolates it",
        deviation="the network of §4.1 on 1,000, 5,000, 20,000 and 55,000 training images of binary MNIST, 6,000 "
        "steps, dropout 0.1, 0.25 or 0.5; each arm, size and dropout at its best of three rates on validation",
        figure="dropout_accuracy",
        numbers=regularizes,
    ),
)


def figures(results: Results) -> dict[str, Figure]:
    """Two panels against the dropout probability: test accuracy, training accuracy."""
    tables = tables_of(results, NAME)
    figure, [axes] = style.canvas(style.PAGE, 2.6, 1, 2)
    splits = ("test", "train")
    for panel, split in zip(axes, splits, strict=True):
        panel.set(xlabel="dropout probability", ylabel=f"final {split} accuracy")
    arms = style.arms_of(tables, results.treatment)
    sweeps.ends_against(axes, [ends(tables, split) for split in splits], DROPOUT, arms)
    style.panel_letters(axes, ["on the test images", "on the training examples"])
    style.legend_below(figure, axes[0], 4)
    figure.suptitle(style.seeds_note(tables))
    return {"dropout_accuracy": figure}


DECLARED = Experiment(NAME, 60, CLAIMS, figures, draws_all=True)
