"""§3.4: whether Batch Normalization reduces the need for dropout."""

from __future__ import annotations

import pandas as pd

from bnrepro import stats
from bnrepro.claims.base import BASELINE, Claim, Estimate, Experiment, Judgement, Results, not_run
from bnrepro.pictures import dropout as pictures
from bnrepro.stats.selection import ends

EXPERIMENT, DROPOUT = "dropout", "model.dropout"


def regularizes(results: Results) -> Judgement:
    tables = results.tables(EXPERIMENT)
    if tables is None:
        return not_run(EXPERIMENT)
    test, validation = (
        ends(tables, split).pivot(index="seed", columns=["arm", DROPOUT], values="end")
        for split in ("test", "validation")
    )
    arms = (BASELINE, results.treatment)
    for arm in arms:
        rates = set(test[arm].columns) if arm in test.columns.get_level_values("arm") else set()
        if 0.0 not in rates or len(rates) < 2:
            return not_run(EXPERIMENT, f"the arm {arm} has not been run without dropout and with some")
    gains, notes, estimates = {}, [], []
    for arm in arms:
        # Chosen on validation, no dropout among the choices: where it does not help, it gains nothing.
        means = {float(str(rate)): float(column.mean()) for rate, column in validation[arm].items()}
        best = max(means, key=lambda rate: means[rate])
        gains[arm] = test[arm][best] - test[arm][0.0]
        notes.append(f"{arm}: best dropout on validation is {best:g}")
    both = pd.DataFrame(gains).dropna()
    if both.empty:
        return not_run(EXPERIMENT, "no seed finished with both arms")
    difference = stats.paired_difference((both[BASELINE] - both[results.treatment]).to_numpy())
    estimates.append(
        Estimate("gain by dropout, without BN minus with", results.treatment, difference, True, "difference")
    )
    for arm in arms:
        gain = stats.paired_difference(both[arm].to_numpy())
        estimates.append(Estimate("gain in final test accuracy by dropout", arm, gain, unit="difference"))
    for arm in arms:
        plain = stats.paired_difference(test[arm][0.0].dropna().to_numpy())
        estimates.append(Estimate("final test accuracy without dropout", arm, plain, unit="share"))
    rows = pd.DataFrame({"gain without": both[BASELINE], "gain with": both[results.treatment]})
    found = stats.verdict(difference, zero=0, margin=0, claimed="above")
    return Judgement(found, estimates, notes, rows.assign(difference=rows.iloc[:, 0] - rows.iloc[:, 1]))


CLAIMS = (
    Claim(
        slug="regularizes",
        group="A",
        sentence="Dropout gains less where there is Batch Normalization.",
        source="§3.4",
        experiment=EXPERIMENT,
        metric="gain in final test accuracy by the best dropout on validation, without BN minus with",
        rule="difference above 0",
        margin=0.0,
        paper="dropout is removed from the Inception without loss; no experiment isolates it",
        deviation="the network of §4.1 on 5,000 training images of binary MNIST, 10,000 steps, dropout 0.25 or 0.5",
        figure="dropout_accuracy",
        judge=regularizes,
    ),
)

DECLARED = Experiment(EXPERIMENT, CLAIMS, pictures.figures)
