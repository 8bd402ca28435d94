"""§2: the price of whitening the features jointly."""

from __future__ import annotations

import pandas as pd

from bnrepro import stats
from bnrepro.claims.base import Claim, Estimate, Experiment, Judgement, measured
from bnrepro.pictures import whitening_cost as pictures
from bnrepro.pictures.whitening_cost import FITTED_FROM, exponent, ratio_at

NAME = "whitening_cost"
MARGIN = 10.0
WIDEST = 1024


@measured(NAME)
def whitening_cost(frame: pd.DataFrame) -> Judgement:
    widest = frame[frame["width"] == WIDEST]
    if widest.empty:
        return Judgement(stats.NOT_RUN, notes=[f"the table of {NAME} has no width of {WIDEST:,}"])
    ratio = ratio_at(frame, WIDEST)
    verdict = stats.verdict(ratio, zero=1.0, margin=MARGIN, claimed="above")
    cost = "exponent of the cost in the width"
    estimates = [
        Estimate(f"time at width {WIDEST:,}", "whitening ÷ per feature", ratio, True),
        Estimate(cost, "per feature", exponent(frame, "per_feature"), unit="number"),
        Estimate(cost, "whitening", exponent(frame, "whitening"), unit="number"),
    ]
    for width in sorted(set(frame["width"]) - {WIDEST}):
        estimates.append(Estimate(f"time at width {width:,}", "whitening ÷ per feature", ratio_at(frame, width)))
    milliseconds = 1000 * widest[["per_feature", "whitening"]].median()
    notes = [
        f"at {WIDEST:,} features: {milliseconds['per_feature']:.3g} ms and {milliseconds['whitening']:.3g} ms, medians "
        f"of {len(widest)} rounds; exponents over widths from {FITTED_FROM}",
    ]
    share = float(frame["core_share"].min())
    if share < 0.9:
        notes.append(
            f"other work took the core: this process had down to {100 * share:.0f}% of the time. Processor time does "
            "not count the waiting, but shared caches still make the times longer and less regular"
        )
    return Judgement(verdict, estimates, notes)


CLAIMS = (
    Claim(
        slug="whitening_cost",
        group="B",
        sentence="Whitening all features of a layer jointly costs far more than normalising each of them by itself.",
        source="§2, §3",
        experiment=NAME,
        metric="processor time of a forward and backward pass, whitening ÷ per feature, 1,024 features, 2,048 examples",
        rule="the whole interval over rounds above 10×",
        margin=MARGIN,
        paper="calls full whitening expensive, without a number",
        deviation="whitening by eigenvectors of the covariance (ZCA), float32 on one CPU thread; the simple layer is "
        "the from-scratch one, which is slower than the library's",
        figure="whitening_cost_width",
        judge=whitening_cost,
    ),
)

DECLARED = Experiment(NAME, CLAIMS, pictures.figures, exam=False)
