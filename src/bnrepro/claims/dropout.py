"""§3.4: whether Batch Normalization reduces the need for dropout, by the size of the training set."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from bnrepro.claims import accelerations, style, sweeps
from bnrepro.claims.claim import Claim, Evidence, Experiment, NotRun, tables_of
from bnrepro.claims.naming import BATCH
from bnrepro.stats import BASELINE, Above, Estimate, Interval, paired_difference
from bnrepro.stats.selection import RATE, best_by, ends
from bnrepro.tables import Results, Tables

NAME, DROPOUT, SIZE = "dropout", "model.dropout", "data.train_examples"
INCEPTION = "x5_dropout"
"""The arm of accelerations that puts dropout back into the Inception with BN."""
ALL = float("inf")
"""The size that stands for all examples of a data set that cannot give several sizes."""
CHANGED = (
    "posed anew after the first runs, which had 5,000 training images and one learning rate, the best without BN, for "
    "both arms: they said that dropout gains more with BN. The highest rate, 10, was added when all 32 choices among "
    "the other three had fallen on the highest of them"
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
            f"{label}, without BN minus with, mean of {style.count(len(gains), 'size')}", results.treatment,
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
    inceptions, remarks = _inception(results)
    notes += [*_edges(tables, chosen), *remarks, CHANGED]
    return Evidence([*estimates, *inceptions], notes, apart.rename(columns=_words).rename_axis("seed"))


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


def _edges(tables: Tables, chosen: pd.DataFrame) -> list[str]:
    """How often the best learning rate is the lowest or highest tried: a better one may lie beyond."""
    rates = sorted(set(tables.runs[RATE]))
    best = chosen.groupby(["arm", "size", DROPOUT])[RATE].first()
    if len(rates) < 3:
        return []
    low, high = (int((best == rate).sum()) for rate in (rates[0], rates[-1]))
    return [
        f"of {len(best)} choices of a learning rate {low} fall on the lowest of {len(rates)} rates, {rates[0]:g}, and "
        f"{high} on the highest, {rates[-1]:g}"
    ]


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
    return "all examples" if size == ALL else f"{size:,.0f} examples"


def _inception(results: Results) -> tuple[list[Estimate], list[str]]:
    """What dropout gains the Inception with BN: the paper's own sentence, measured by accelerations; or why not."""
    if results.treatment != BATCH:
        return [], []
    undone, whole = results.beside(accelerations.NAME), results.beside(accelerations.REFERENCE)
    if undone is None or whole is None:
        return [], [f"what dropout gains the Inception with BN is not run: {accelerations.NAME}"]
    gains, notes, _ = accelerations.gains_of(undone, whole, {INCEPTION: "the Inception without dropout"})
    label = "gain in maximum test accuracy by dropout, the Inception with BN"
    found = [
        Estimate(label, accelerations.WHOLE, paired_difference(-gain), unit="difference") for gain in gains.values()
    ]
    return found, notes


CLAIMS = (
    Claim(
        slug="regularizes",
        group="A",
        origin="paper",
        sentence="Dropout helps less in a network with Batch Normalization.",
        source="§3.4",
        metric="gain in final test accuracy by the best dropout on validation, without BN minus with, mean of the "
        "sizes of the training set",
        unit="difference",
        network="MLP of §4.1",
        rule=Above(0.0),
        paper="dropout is removed from the Inception without loss; no experiment isolates it",
        deviation="the network of §4.1 on 1,000, 5,000, 20,000 and 55,000 training images of binary MNIST, 6,000 "
        "steps, dropout 0.1, 0.25 or 0.5; each arm, size and dropout at its best of four rates on validation",
        figure="dropout_gain",
        numbers=regularizes,
    ),
)


def figures(results: Results) -> dict[str, Figure]:
    """By size of the training set, against the dropout probability: test accuracy, and its gain over no dropout."""
    tables = tables_of(results, NAME)
    chosen, arms = at_best_rates(tables), style.arms_of(tables, results.treatment)
    sizes = sorted(set(chosen["size"])) or [ALL]
    figure, (above, below) = style.canvas(style.PAGE, 3.9, 2, len(sizes), sharex=True)
    for place, size in enumerate(sizes):
        for arm in arms:
            runs = chosen[(chosen["arm"] == arm) & (chosen["size"] == size)]
            accuracy = 100 * runs.pivot(index="seed", columns=DROPOUT, values="end")
            sweeps.with_intervals(above[place], _by_dropout(accuracy), arm, bounds=(0, 100))
            if 0.0 in accuracy:
                sweeps.with_intervals(below[place], _by_dropout(accuracy.sub(accuracy[0.0], axis=0)), arm)
        below[place].axhline(0, **style.GUIDE)
        below[place].tick_params(labelleft=not place)
        below[place].set_xlabel("dropout probability")
    lowest, highest = zip(*(panel.get_ylim() for panel in below), strict=True)
    for panel in below:
        panel.set_ylim(min(lowest), max(highest))
    style.panel_letters(above, [_words(size) for size in sizes])
    above[0].set_ylabel("final test accuracy, %")
    below[0].set_ylabel("gain over no dropout, points")
    style.legend_below(figure, above, 4)
    figure.suptitle(style.seeds_note(tables))
    return {"dropout_gain": figure}


def _by_dropout(values: pd.DataFrame) -> dict[float, Interval]:
    """The mean over seeds (rows) at each dropout (columns), with its interval."""
    return {
        float(str(dropout)): paired_difference(column.dropna())
        for dropout, column in values.items()
        if column.notna().any()
    }


DECLARED = Experiment(NAME, 60, CLAIMS, figures, draws_all=True)
