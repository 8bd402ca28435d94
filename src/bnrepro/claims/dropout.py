"""§3.4: whether Batch Normalization reduces the need for dropout."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from bnrepro.claims import style, sweeps
from bnrepro.claims.claim import Claim, Evidence, Experiment, NotRun, tables_of
from bnrepro.stats import BASELINE, Above, Estimate, paired_difference
from bnrepro.stats.selection import ends
from bnrepro.tables import Results

NAME, DROPOUT = "dropout", "model.dropout"


def regularizes(results: Results) -> Evidence:
    tables = tables_of(results, NAME)
    test, validation = (
        ends(tables, split).pivot(index="seed", columns=["arm", DROPOUT], values="end")
        for split in ("test", "validation")
    )
    arms = (BASELINE, results.treatment)
    for arm in arms:
        rates = set(test[arm].columns) if arm in test.columns.get_level_values("arm") else set()
        if 0.0 not in rates or len(rates) < 2:
            raise NotRun(NAME, f"the arm {arm} has not been run without dropout and with some")
    gains, notes = {}, []
    for arm in arms:
        # No dropout is among the choices: where dropout does not help, its gain is zero.
        means = {float(str(rate)): float(column.mean()) for rate, column in validation[arm].items()}
        best = max(means, key=lambda rate: means[rate])
        gains[arm] = test[arm][best] - test[arm][0.0]
        notes.append(f"{arm}: best dropout on validation is {best:g}")
    both = pd.DataFrame(gains).dropna()
    if both.empty:
        raise NotRun(NAME, "no seed finished with both arms")
    seeds = pd.DataFrame({"gain without": both[BASELINE], "gain with": both[results.treatment]})
    seeds = seeds.assign(difference=seeds["gain without"] - seeds["gain with"])
    difference = paired_difference(seeds["difference"])
    label = "gain by dropout, without BN minus with"
    estimates = [Estimate(label, results.treatment, difference, True, "difference")]
    for arm in arms:
        gain = paired_difference(both[arm])
        estimates.append(Estimate("gain in final test accuracy by dropout", arm, gain, unit="difference"))
    for arm in arms:
        plain = paired_difference(test[arm][0.0].dropna())
        estimates.append(Estimate("final test accuracy without dropout", arm, plain, unit="share"))
    return Evidence(estimates, notes, seeds)


CLAIMS = (
    Claim(
        slug="regularizes",
        group="A",
        origin="paper",
        sentence="Dropout gains less where there is Batch Normalization.",
        source="§3.4",
        metric="gain in final test accuracy by the best dropout on validation, without BN minus with",
        unit="difference",
        rule=Above(0.0),
        paper="dropout is removed from the Inception without loss; no experiment isolates it",
        deviation="the network of §4.1 on 5,000 training images of binary MNIST, 10,000 steps, dropout 0.25 or 0.5",
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
