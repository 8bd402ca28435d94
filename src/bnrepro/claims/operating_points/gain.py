"""Bjorck et al. 2018: BN's gain comes from the learning rates that it permits."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bnrepro.claims.claim import Evidence, Inapplicable, NotRun
from bnrepro.claims.operating_points.evidence import class_notes
from bnrepro.claims.operating_points.reading import DIGITS, NAME, Map, read
from bnrepro.claims.operating_points.rules import BUDGETS, GAIN_NEEDS_LARGE_RATES, SMALL_RATE_CELLS
from bnrepro.stats import BASELINE, BOTH, Estimate, paired_difference
from bnrepro.stats.selection import RATE
from bnrepro.tables import Results


def gains(found: Map) -> pd.DataFrame:
    """Per seed (rows), the gain of final test accuracy with each arm at its ``best`` and at equal ``small`` rates.

    Small rates are those below the plain network's best one; the gain there is the mean over the cells in which both
    arms train. ``permitted`` confines the treatment to its best cell among those in which both train. Raises
    :class:`Inapplicable` if there are fewer than three cells at small rates.
    """
    final = found.final("test", "accuracy")
    plain, treated = found.pair(final)
    _, limit = found.best(BASELINE)
    both = found.classes == BOTH
    small = both & (found.classes.index.get_level_values(RATE) < limit)
    if small.sum() < SMALL_RATE_CELLS:
        raise Inapplicable(
            f"both arms train in {small.sum()} cells below rate {limit:g}, which are fewer than {SMALL_RATE_CELLS}"
        )
    base = found.over(BASELINE, final, found.best(BASELINE))
    best = found.over(found.treatment, final, found.best(found.treatment)) - base
    gaps = (treated - plain)[small].mean().to_numpy()
    ordered = found.validation[found.treatment][both].dropna()
    permitted = found.over(found.treatment, final, ordered.index[int(np.argmax(ordered))]) - base
    frame = pd.DataFrame(
        {"best": best, "small": gaps, "permitted": permitted}, index=pd.Index(found.seeds, name="seed")
    )
    return frame.assign(difference=frame["best"] - frame["small"]).dropna()


def gain_needs_large_rates(results: Results) -> Evidence:
    found = read(results)
    seeds = gains(found)
    if seeds.empty:
        raise Inapplicable("no seed finished at the best cell of both arms")
    treatment = results.treatment
    names = {
        "best": "gain of final test accuracy, each arm at its best cell on validation",
        "small": "gain at equal rates below the plain network's best, mean of the cells in which both train",
        "permitted": "gain with the treatment confined to the cells in which the plain network trains too",
    }
    difference = paired_difference(seeds["difference"])
    primary = Estimate(
        "gain at each arm's best minus gain at equal small rates", treatment, difference, True, "difference"
    )
    estimates = [primary]
    estimates += [
        Estimate(name, treatment, paired_difference(seeds[column]), unit="difference") for column, name in names.items()
    ]
    cells = ", ".join(f"{arm} at scale {scale:g}, rate {rate:g}" for arm in (BASELINE, treatment)
                      for scale, rate in [found.best(arm)])  # fmt: skip
    notes = [*class_notes(found), f"best cells on validation: {cells}"]
    for where, experiment, budget in [*((f"at {budget:,} steps", NAME, budget) for budget in BUDGETS
                                        if budget < found.budget), ("on the digits", DIGITS, None)]:  # fmt: skip
        try:
            there = paired_difference(gains(read(results, experiment, budget))["difference"])
        except (NotRun, ValueError) as reason:
            notes.append(f"{where}: {reason}")
            continue
        name = f"the same {where}: {GAIN_NEEDS_LARGE_RATES.verdict(there)}"
        estimates.append(Estimate(name, treatment, there, unit="difference"))
    return Evidence(estimates, notes, seeds)
