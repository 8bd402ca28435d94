"""§4.2, Figs. 2 and 3: what Batch Normalization does to the Inception, at 1, 5 and 30 times its learning rate."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from bnrepro import stats
from bnrepro.claims import style
from bnrepro.claims.claim import Claim, Evidence, Experiment, paired_runs, tables_of
from bnrepro.claims.markdown import table
from bnrepro.stats import CONTRADICTED, Above, Below, Estimate, pair_by_seed
from bnrepro.tables import Results, Tables

NAME, BASELINE = "inception_training", "inception"
BN, X5, X30, X5_SIGMOID = "bn_baseline", "bn_x5", "bn_x30", "bn_x5_sigmoid"
PLAIN_X5, PLAIN_SIGMOID = "inception_x5", "inception_sigmoid"
PAPER = {
    # arm: initial learning rate, steps to 72.2% (in millions), maximum accuracy (%): Fig. 3.
    BASELINE: ("0.0015", "31.0", "72.2"),
    BN: ("0.0015", "13.3", "72.7"),
    X5: ("0.0075", "2.1", "73.0"),
    X30: ("0.045", "2.7", "74.8"),
    X5_SIGMOID: ("0.0075", "–", "69.8"),
    PLAIN_X5: ("0.0075", "–", "diverges"),
    PLAIN_SIGMOID: ("0.0015", "–", "chance"),
}
FASTER = {X5: "1/14.8", X30: "1/11.5", BN: "1/2.3"}
"""Arm → the paper's ratio of steps. The first arm decides."""
HIGHER = (X30, X5, BN)
"""The arms compared by maximum accuracy. The first decides."""
CHANCE, ABOVE_CHANCE = 0.1, 0.05
"""There are ten classes. A run that never gets five points above chance has not trained."""
LATE = 0.9
"""A run whose maximum is in the last tenth of the steps was still improving."""
GAIN = Above(0.0)
"""The rule of higher_accuracy_inception, which its notes apply too, and of thirty_times_is_best."""

PROTOCOL = (
    "an Inception of 49 thousand parameters on 32×32 images of ten classes for 7.5 epochs instead of 13.6 million on "
    "ImageNet; mini-batches of 32, momentum SGD and exponential decay as in §4.2; the base learning rate is the best "
    "on validation for the network without BN; momentum, dropout, weight decay, distortions and decay of the rate are "
    "ours, changed in the direction that §4.2.1 gives"
)
READ_FROM = (
    "; steps and maxima are read from evaluations on 2,000 fixed test images, at most 10% apart from step 500 on"
)
SINCE = "after the full profile's first three seeds"
CHANGED = {
    "fewer_steps_inception": f"the words “and the changes that it permits” were added {SINCE}; the rule is unchanged",
    "higher_accuracy_inception": "declared as “ends at a higher accuracy, the most at thirty times the rate”; the "
    f"words were changed {SINCE}, to what the unchanged rule decides",
    "thirty_times_is_best": f"declared as part of higher_accuracy_inception, and dropped from its words {SINCE}; a "
    "claim of its own, with the margin of that one, after all of its runs",
}
"""Slug → what changed after the claim was declared."""


def fewer_steps_inception(results: Results) -> Evidence:
    tables, pairs = paired_runs(results, NAME, arms=(BASELINE, X5))
    accuracy = stats.curve(tables.metrics, "test", "accuracy")
    tops, budget = accuracy.max(), accuracy.index.max()
    estimates, notes, rows, lost = [], list(pairs.notes), None, pairs.treatment_diverged
    for arm, in_paper in FASTER.items():
        each = pair_by_seed(tables.runs, arm, baseline=BASELINE)
        if not len(each):
            notes.append(f"{arm}: no seed finished")
            continue
        without = stats.steps_to(accuracy[each.baseline], tops)
        goals = pd.Series(each.without(tops), index=each.treatment)
        reached = stats.steps_to(accuracy[each.treatment], goals)
        missed = int(reached.isna().sum())
        steps = pd.concat([without, reached.fillna(budget)])
        name = f"ratio of steps to Inception's maximum (the paper: {in_paper})"
        estimates.append(Estimate(name, arm, each.ratio(steps), not estimates))
        if missed:
            notes.append(f"{missed} of {len(each)} runs of {arm} never reach it and count as {budget:,} steps")
        if rows is None:
            rows, lost = each.listed(steps, "ratio").assign(target=each.without(tops)), lost + missed
    highest = accuracy[pairs.baseline].idxmax()
    if late := int((highest > LATE * budget).sum()):
        notes.append(
            f"{late} of {len(pairs)} runs of {BASELINE} are at their best in the last tenth of the steps: trained for "
            "longer their best may be higher, and come later"
        )
    notes.append(CHANGED["fewer_steps_inception"])
    return Evidence(estimates, notes, rows, lost)


def higher_accuracy_inception(results: Results) -> Evidence:
    tables, pairs = paired_runs(results, NAME, arms=(BASELINE, X30))
    tops = stats.curve(tables.metrics, "test", "accuracy").max()
    whole = stats.curve(tables.metrics, "whole_test", "accuracy").max()
    estimates, notes = [], list(pairs.notes)
    for arm in HIGHER:
        each = pair_by_seed(tables.runs, arm, baseline=BASELINE)
        if len(each):
            name = "maximum test accuracy, difference to Inception"
            estimates.append(Estimate(name, arm, each.difference(tops), not estimates, "difference"))
            if set(each.frame.to_numpy().ravel()) <= set(whole.index):
                name = "the same on the whole test set, of its few evaluations"
                estimates.append(Estimate(name, arm, each.difference(whole), unit="difference"))
    estimates += pairs.each("maximum test accuracy", tops, X30, "share", BASELINE)
    among = pair_by_seed(tables.runs, X30, baseline=X5)
    if len(among):
        ahead = among.difference(tops)
        estimates.append(Estimate("maximum test accuracy, difference to BN-x5", X30, ahead, unit="difference"))
        if GAIN.verdict(ahead) == CONTRADICTED:
            notes.append("in the paper thirty times the rate ends highest; here five times does")
    notes.append(CHANGED["higher_accuracy_inception"])
    return Evidence(estimates, notes, pairs.listed(tops, "difference"), pairs.treatment_diverged)


def thirty_times_is_best(results: Results) -> Evidence:
    tables, pairs = paired_runs(results, NAME, arms=(X5, X30))
    tops = stats.curve(tables.metrics, "test", "accuracy").max()
    whole = stats.curve(tables.metrics, "whole_test", "accuracy").max()
    estimates = [
        Estimate("maximum test accuracy, difference to BN-x5", X30, pairs.difference(tops), True, "difference")
    ]
    if set(pairs.frame.to_numpy().ravel()) <= set(whole.index):
        name = "the same on the whole test set, of its few evaluations"
        estimates.append(Estimate(name, X30, pairs.difference(whole), unit="difference"))
    estimates += pairs.each("maximum test accuracy", tops, X30, "share", X5)
    notes = [*pairs.notes, CHANGED["thirty_times_is_best"]]
    return Evidence(estimates, notes, pairs.listed(tops, "difference"), pairs.treatment_diverged)


def saturating_nonlinearity(results: Results) -> Evidence:
    tables, pairs = paired_runs(results, NAME, arms=(PLAIN_SIGMOID, X5_SIGMOID))
    tops = stats.curve(tables.metrics, "test", "accuracy").max()
    without = stats.paired_difference(pairs.without(tops) - CHANCE)
    estimates = [
        Estimate("maximum test accuracy, difference", X5_SIGMOID, pairs.difference(tops), True, "difference"),
        Estimate("maximum test accuracy above chance", PLAIN_SIGMOID, without, unit="difference"),
        *pairs.each("maximum test accuracy", tops, X5_SIGMOID, "share", PLAIN_SIGMOID),
    ]
    whole = stats.curve(tables.metrics, "whole_test", "accuracy").max()
    if set(pairs.frame.to_numpy().ravel()) <= set(whole.index):
        name = "the same on the whole test set, of its few evaluations"
        estimates += pairs.each(name, whole, X5_SIGMOID, "share", PLAIN_SIGMOID)
    return Evidence(estimates, pairs.notes, pairs.listed(tops, "difference"), pairs.treatment_diverged)


CLAIMS = (
    Claim(
        slug="fewer_steps_inception",
        group="A",
        origin="paper",
        sentence="With Batch Normalization and the changes that it permits, the Inception reaches the plain "
        "network's best accuracy in a fraction of the steps.",
        source="§4.2.2, Figs. 2 and 3",
        metric="ratio of steps, BN-x5 over Inception, to Inception's maximum test accuracy",
        unit="ratio",
        network="small Inception",
        rule=Below(0.5, null=1),
        paper="BN-Baseline 1/2.3, BN-x5 1/14.8, BN-x30 1/11.5 of the steps",
        deviation=PROTOCOL + READ_FROM,
        figure="inception_training_accuracy",
        numbers=fewer_steps_inception,
    ),
    Claim(
        slug="higher_accuracy_inception",
        group="A",
        origin="paper",
        sentence="With Batch Normalization and the changes that it permits, the Inception reaches a higher "
        "accuracy, even at thirty times the learning rate.",
        source="§4.2.2, Fig. 3",
        metric="difference of maximum test accuracy, BN-x30 minus Inception",
        unit="difference",
        network="small Inception",
        rule=GAIN,
        paper="72.2% without; 72.7%, 73.0% and 74.8% with it",
        deviation=PROTOCOL + READ_FROM,
        figure="inception_training_accuracy",
        numbers=higher_accuracy_inception,
    ),
    Claim(
        slug="thirty_times_is_best",
        group="A",
        origin="paper",
        sentence="With Batch Normalization, thirty times the learning rate ends at a higher accuracy than five times.",
        source="§4.2.2, Fig. 3",
        metric="difference of maximum test accuracy, BN-x30 minus BN-x5",
        unit="difference",
        network="small Inception",
        rule=GAIN,
        paper="74.8% at thirty times the rate, 73.0% at five times",
        deviation=PROTOCOL + READ_FROM,
        figure="inception_training_accuracy",
        numbers=thirty_times_is_best,
    ),
    Claim(
        slug="saturating_nonlinearity",
        group="A",
        origin="paper",
        sentence="With Batch Normalization the Inception trains with sigmoids; without it, it does not.",
        source="§4.2.2",
        metric="difference of maximum test accuracy, BN-x5-Sigmoid minus Inception with sigmoids",
        unit="difference",
        network="small Inception",
        rule=Above(0.1, null=0),
        paper="69.8% with it, never better than chance without",
        deviation=PROTOCOL + READ_FROM,
        figure="inception_training_accuracy",
        numbers=saturating_nonlinearity,
    ),
)

LINES = {
    BASELINE: ("--", "Inception"),
    BN: (":", "BN-Baseline"),
    X5: ("-", "BN-x5"),
    X30: ("-", "BN-x30"),
    X5_SIGMOID: ("-.", "BN-x5-Sigmoid"),
    PLAIN_X5: ("--", "Inception at ×5"),
    PLAIN_SIGMOID: ("-.", "Inception, sigmoid"),
}


def _arms(tables: Tables) -> list[str]:
    """The paper's arms, then those that a user added."""
    return [*PAPER, *sorted(set(tables.runs["arm"]) - set(PAPER))]


def figures(results: Results) -> dict[str, Figure]:
    """Fig. 2: median and range of the seeds; a dot where the median reaches Inception's best, as in the paper."""
    tables = tables_of(results, NAME)
    figure, [[axes]] = style.canvas(style.PAGE, 3.5)
    curves = stats.curve(tables.metrics, "test", "accuracy")
    plain = tables.runs[(tables.runs["arm"] == BASELINE) & (tables.runs["status"] == "finished")]
    target = float(curves.reindex(columns=list(plain["run"])).max().mean())  # NaN without a plain network
    for arm in _arms(tables):
        line, label = LINES.get(arm, ("-", arm))
        if not (runs := style.runs_of(tables, arm)):
            continue
        lost = int((tables.runs.loc[tables.runs["arm"] == arm, "status"] == "diverged").sum())
        style.band(
            axes,
            style.curves_of(curves, tables, arm),
            arm,
            label + (f" ({lost} of {len(runs)} diverged)" if lost else ""),
            line,
        )
        median = style.curves_of(curves, tables, arm).median(axis=1)
        reached = median.index[median >= target]
        if len(reached):
            axes.plot(reached[0], median[reached[0]], "o", color=style.colour(arm), markersize=5, clip_on=False)
    if len(plain):
        style.mark(axes, target, "best without\nBN, mean")
    axes.set(xlabel="training steps", ylabel="test accuracy", xlim=(0, curves.index.max()))
    style.thousands(axes)
    style.legend_below(figure, axes, 4)
    figure.suptitle(style.range_note(tables))
    return {"inception_training_accuracy": figure}


def section(results: Results) -> str:
    """Fig. 3 of the paper, with our columns beside its own."""
    tables = tables_of(results, NAME)
    accuracy = stats.curve(tables.metrics, "test", "accuracy")
    finished = tables.runs[tables.runs["status"] == "finished"]
    tops = accuracy.max()
    goals = finished[finished["arm"] == BASELINE].set_index("seed")["run"].map(tops)
    header = [
        "arm", "learning rate", "steps to it", "maximum accuracy", "seeds (diverged)", "the paper: rate",
        "10⁶ steps to 72.2%", "maximum",
    ]  # fmt: skip
    rows = []
    for arm in _arms(tables):
        in_paper = PAPER.get(arm, ("–", "–", "–"))
        own = tables.runs[tables.runs["arm"] == arm]
        if own.empty:
            continue
        runs = list(own.loc[own["status"] == "finished", "run"])
        targets = own.set_index("run")["seed"].map(goals).dropna()
        reached = stats.steps_to(accuracy[[run for run in runs if run in targets.index]], targets).dropna()
        steps = "never" if len(targets) else "–"
        if len(reached):
            steps = f"{reached.median():,.0f} ({len(reached)} of {len(targets)})"
        best = f"{100 * tops[runs].mean():.2f}%" if runs else "–"
        seeds = f"{len(own)} ({len(own) - len(runs)})"
        rows.append([arm, f"{own['optimizer.lr'].iloc[0]:g}", steps, best, seeds, *in_paper])
    return (
        f"## Fig. 3: steps to Inception's accuracy, and the maximum\n\nOurs on {tables.data_label}. The target is the "
        "maximum of the arm inception with the same seed"
        + (f", {100 * goals.mean():.2f}% on average" if len(goals) else "")
        + ". Steps are the median of the seeds that reach it; a dot in the figure marks where the median curve reaches "
        "the mean of the targets.\n\n" + table(header, rows)
    )


DECLARED = Experiment(NAME, 90, CLAIMS, figures, section, any_normaliser=False, arms=tuple(PAPER), draws_all=True)
