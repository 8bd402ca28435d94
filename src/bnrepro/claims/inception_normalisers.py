"""BN-x5 with other normalisers: §4.2's claims asked of them. They are judged in the comparison of normalisers alone."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bnrepro import stats
from bnrepro.claims import inception_training
from bnrepro.claims.claim import Evidence, Experiment, Inapplicable, NotRun, tables_of
from bnrepro.claims.inception_training import BASELINE, X5
from bnrepro.claims.naming import BATCH
from bnrepro.stats import Estimate, Pairs, censored, pair_by_seed
from bnrepro.tables import Results

NAME = "inception_normalisers"
REFERENCE = inception_training.NAME


def fewer_steps(results: Results) -> Evidence:
    """Ratio of steps to Inception's maximum test accuracy. Of a run that never reaches it only a bound is known."""
    pairs, accuracy = _compared(results, BASELINE)
    tops, budget = accuracy.max(), accuracy.index.max()
    reached = stats.steps_to(accuracy[pairs.treatment], pd.Series(pairs.without(tops), index=pairs.treatment))
    without = stats.steps_to(accuracy[pairs.baseline], tops)
    steps = pd.concat([without, reached.fillna(budget)])
    missed = int(reached.isna().sum())
    notes = [*pairs.notes]
    if missed:
        notes.append(f"{missed} of {len(pairs)} runs never reach it within {budget:,} steps")
        # Inception's own steps are at most the budget: the ratio is at least that of these steps.
        lows = reached.fillna(budget).to_numpy() / pairs.without(without)
        ratio = censored.over_seeds(lows, np.where(reached.isna(), np.inf, lows), log=True)
    else:
        ratio = pairs.ratio(steps)
    estimate = Estimate("ratio of steps to Inception's maximum", results.treatment, ratio, True)
    return Evidence([estimate], notes, pairs.listed(steps, "ratio"), pairs.treatment_diverged + missed)


def higher_accuracy(results: Results) -> Evidence:
    """Difference of maximum test accuracy to Inception."""
    return _gain(results, BASELINE, "maximum test accuracy, difference to Inception")


def as_accurate(results: Results) -> Evidence:
    """Difference of maximum test accuracy to BN-x5 itself."""
    if results.treatment == BATCH:
        raise Inapplicable("it is what the others are compared with")
    return _gain(results, X5, "maximum test accuracy, difference to BN-x5")


def _gain(results: Results, baseline: str, name: str) -> Evidence:
    pairs, accuracy = _compared(results, baseline)
    tops = accuracy.max()
    estimate = Estimate(name, results.treatment, pairs.difference(tops), True, "difference")
    return Evidence([estimate], pairs.notes, pairs.listed(tops, "difference"), pairs.treatment_diverged)


def _compared(results: Results, baseline: str) -> tuple[Pairs, pd.DataFrame]:
    """Runs of an arm of inception_training paired with those of the treatment, and the test accuracy of all of them.

    BN-x5 of inception_training is that with Batch Normalization. Raises :class:`NotRun`.
    """
    reference = tables_of(results, REFERENCE)
    arm, treated = (X5, reference) if results.treatment == BATCH else (results.treatment, tables_of(results, NAME))
    pairs = pair_by_seed(reference.runs, arm, treated.runs, baseline=baseline)
    if not len(pairs):
        if pairs.treatment_diverged:
            raise Inapplicable(f"{pairs.treatment_diverged} runs diverged, and no other finished")
        raise NotRun(treated.experiment, f"no seed finished with both {baseline} and {arm}")
    curves = [stats.curve(each.metrics, "test", "accuracy") for each in (reference, treated)]
    return pairs, curves[0] if treated is reference else pd.concat(curves, axis=1)


DECLARED = Experiment(NAME, 94, any_normaliser=False, compared_only=True)
