"""§4.1, Fig. 1: what Batch Normalization does to the paper's network on binary MNIST."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bnrepro import stats
from bnrepro.claims.base import Claim, Estimate, Experiment, Judgement, Pairs, Results, not_run, pair_by_seed
from bnrepro.pictures import mnist_training as pictures
from bnrepro.stats import Interval
from bnrepro.tables import Tables

EXPERIMENT, OWN_RATE = "mnist_training", "mnist_training_own_rate"
TARGET_ACCURACY, TARGET_LOSS = 0.95, 0.1
TYPICAL_UNIT = 0
"""The paper shows "a typical sigmoid" without naming it: we fix the first one of the layer, before any run."""

PROTOCOL = (
    "as the paper: binary MNIST, 784-100-100-100-10, sigmoid, mini-batches of 60, 50,000 steps. Ours: 55,000 training "
    "images (5,000 are the validation set), plain SGD, learning rate and initialisation chosen on validation for the "
    "network without BN; the paper states neither"
)


# --------------------------------------------------------------------------------------------- steps to accuracy


def faster_training(results: Results) -> Judgement:
    tables = results.tables(EXPERIMENT)
    if tables is None:
        return not_run(EXPERIMENT)
    pairs = pair_by_seed(tables.runs, results.treatment)
    if not len(pairs):
        return not_run(EXPERIMENT, f"no seed finished with both none and {results.treatment}")
    accuracy = stats.curve(tables.metrics, "test", "accuracy")
    goals = {
        "the plain network's final test accuracy": stats.final(accuracy[pairs.baseline]),
        "the plain network's maximum test accuracy": accuracy[pairs.baseline].max(),
        "95% test accuracy": pd.Series(TARGET_ACCURACY, index=pairs.baseline),
    }
    estimates, notes, seeds, censored = [], list(pairs.notes), {}, 0
    for position, (name, goal) in enumerate(goals.items()):
        ratio, columns, missed = _steps_ratio(accuracy, accuracy, pairs, goal)
        estimates.append(Estimate(f"ratio of steps to {name}", results.treatment, ratio, primary=position == 0))
        if position == 0:
            seeds, censored = columns, missed
        if missed:
            notes.append(f"{missed} of {len(pairs)} runs with {results.treatment} never reached {name}")
    own = results.tables(OWN_RATE)
    if own is not None:
        own_pairs = pair_by_seed(tables.runs, results.treatment, own.runs)
        if len(own_pairs):
            goal = stats.final(accuracy[own_pairs.baseline])
            ratio, _, missed = _steps_ratio(accuracy, stats.curve(own.metrics, "test", "accuracy"), own_pairs, goal)
            rate = ", ".join(f"{value:g}" for value in sorted(set(own.runs["optimizer.lr"])))
            name = f"ratio of steps to its final test accuracy, BN at its own best rate ({rate})"
            estimates.append(Estimate(name, results.treatment, ratio))
            if missed:
                notes.append(f"{missed} of {len(own_pairs)} runs at the own rate never reached it")
    found = stats.verdict(estimates[0].interval, zero=1, margin=0.5, claimed="below")
    if censored + pairs.treatment_diverged and found == stats.SUPPORTED:
        found = stats.INCONCLUSIVE
    return Judgement(found, estimates, notes, pd.DataFrame(seeds, index=pairs.frame.index))


def _steps_ratio(
    baseline: pd.DataFrame, treatment: pd.DataFrame, pairs: Pairs, goal: pd.Series
) -> tuple[Interval, dict[str, np.ndarray], int]:
    """Ratio of steps until ``goal`` (one per baseline run), every seed's steps, how many treatment runs never got there.

    A run that never reaches the goal counts as the whole budget: conservative for the baseline, and said so for the
    treatment, which then cannot be supported.
    """
    goals = pd.Series(goal[pairs.baseline].to_numpy(), index=pairs.treatment)
    plain = stats.steps_to(baseline[pairs.baseline], goal).fillna(baseline.index.max()).to_numpy()
    normalised = stats.steps_to(treatment[pairs.treatment], goals)
    missed = int(normalised.isna().sum())
    steps = normalised.fillna(treatment.index.max()).to_numpy()
    columns = {"target": goals.to_numpy(), "steps without": plain, "steps with": steps, "ratio": steps / plain}
    return stats.paired_ratio(steps, plain), columns, missed


# ------------------------------------------------------------------------------------------- accuracy and loss


def higher_accuracy(results: Results) -> Judgement:
    tables = results.tables(EXPERIMENT)
    if tables is None:
        return not_run(EXPERIMENT)
    pairs = pair_by_seed(tables.runs, results.treatment)
    if not len(pairs):
        return not_run(EXPERIMENT, f"no seed finished with both none and {results.treatment}")
    accuracy = stats.curve(tables.metrics, "test", "accuracy")
    ends, tops = stats.final(accuracy), accuracy.max()
    without, normalised = ends[pairs.baseline].to_numpy(), ends[pairs.treatment].to_numpy()
    final = stats.paired_difference(normalised - without)
    estimates = [
        Estimate("final test accuracy, difference", results.treatment, final, primary=True, unit="difference"),
        Estimate(
            "maximum test accuracy, difference",
            results.treatment,
            stats.paired_difference(tops[pairs.treatment].to_numpy() - tops[pairs.baseline].to_numpy()),
            unit="difference",
        ),
        Estimate("final test accuracy", "none", stats.paired_difference(without), unit="share"),
        Estimate("final test accuracy", results.treatment, stats.paired_difference(normalised), unit="share"),
    ]
    own = results.tables(OWN_RATE)
    if own is not None:
        beside = pair_by_seed(tables.runs, results.treatment, own.runs)
        if len(beside):
            own_ends = stats.final(stats.curve(own.metrics, "test", "accuracy"))
            gain = own_ends[beside.treatment].to_numpy() - ends[beside.baseline].to_numpy()
            label = "final test accuracy, difference, each at its own best rate"
            estimates.append(Estimate(label, results.treatment, stats.paired_difference(gain), unit="difference"))
    seeds = pd.DataFrame(
        {"without": without, "with": normalised, "difference": normalised - without}, index=pairs.frame.index
    )
    found = stats.verdict(final, zero=0, margin=0, claimed="above")
    if pairs.treatment_diverged and found == stats.SUPPORTED:
        found = stats.INCONCLUSIVE
    return Judgement(found, estimates, pairs.notes, seeds)


def lower_training_loss(results: Results) -> Judgement:
    tables = results.tables(EXPERIMENT)
    if tables is None:
        return not_run(EXPERIMENT)
    pairs = pair_by_seed(tables.runs, results.treatment)
    if not len(pairs):
        return not_run(EXPERIMENT, f"no seed finished with both none and {results.treatment}")
    loss = stats.curve(tables.metrics, "train", "loss")
    budget = loss.index.max()
    reached = stats.steps_to(loss, TARGET_LOSS, falling=True)
    missed = int(reached[pairs.treatment].isna().sum())
    without = reached[pairs.baseline].fillna(budget).to_numpy()
    normalised = reached[pairs.treatment].fillna(budget).to_numpy()
    ratio = stats.paired_ratio(normalised, without)
    ends = stats.final(loss)
    end_difference = ends[pairs.treatment].to_numpy() - ends[pairs.baseline].to_numpy()
    estimates = [
        Estimate("ratio of steps to a training loss of 0.1", results.treatment, ratio, primary=True),
        *(
            Estimate(label, arm, stats.paired_difference(values), unit="number")
            for label, arm, values in (
                ("final training loss, difference", results.treatment, end_difference),
                ("final training loss", "none", ends[pairs.baseline].to_numpy()),
                ("final training loss", results.treatment, ends[pairs.treatment].to_numpy()),
            )
        ),
    ]
    seeds = pd.DataFrame(
        {"steps without": without, "steps with": normalised, "ratio": normalised / without}, index=pairs.frame.index
    )
    notes = list(pairs.notes)
    never = int(reached[pairs.baseline].isna().sum())
    if never:
        notes.append(f"{never} of {len(pairs)} plain networks never reached 0.1 and count as the budget {budget:,}")
    found = stats.verdict(ratio, zero=1, margin=0.5, claimed="below")
    if missed or pairs.treatment_diverged:
        notes.append(f"{missed} of {len(pairs)} runs with {results.treatment} never reached 0.1")
        found = stats.INCONCLUSIVE if found == stats.SUPPORTED else found
    return Judgement(found, estimates, notes, seeds)


# -------------------------------------------------------------------------------------------- inside the network


def stable_inputs(results: Results) -> Judgement:
    tables = results.tables(EXPERIMENT)
    if tables is None or "activations" not in tables.probes:
        return not_run(EXPERIMENT, "" if tables is None else "no activations were recorded")
    pairs = pair_by_seed(tables.runs, results.treatment)
    if not len(pairs):
        return not_run(EXPERIMENT, f"no seed finished with both none and {results.treatment}")
    running, batch = drifts(tables, "running"), drifts(tables, "batch")

    def ratio(with_norm: pd.DataFrame, unit: int | None) -> Interval:
        pick = (lambda frame: frame.median()) if unit is None else (lambda frame: frame.loc[unit])
        over, under = pick(with_norm)[pairs.treatment], pick(running)[pairs.baseline]
        return stats.paired_ratio(over.to_numpy(), under.to_numpy())

    primary = ratio(running, None)
    unit = f"unit {TYPICAL_UNIT} alone"
    estimates = [
        Estimate("ratio of drift, median over the units", results.treatment, primary, primary=True),
        Estimate(f"ratio of drift, {unit}", results.treatment, ratio(running, TYPICAL_UNIT)),
    ]
    if set(pairs.treatment) <= set(batch.columns):
        estimates.append(
            Estimate("ratio of drift, by the batch's own statistics", results.treatment, ratio(batch, None))
        )
    medians = running.median()
    without, normalised = medians[pairs.baseline].to_numpy(), medians[pairs.treatment].to_numpy()
    estimates += [
        Estimate("drift, in widths of the final distribution", arm, stats.paired_difference(values), unit="number")
        for arm, values in (("none", without), (results.treatment, normalised))
    ]
    seeds = pd.DataFrame(
        {"drift without": without, "drift with": normalised, "ratio": normalised / without}, index=pairs.frame.index
    )
    found = stats.verdict(primary, zero=1, margin=0.5, claimed="below")
    return Judgement(found, estimates, pairs.notes, seeds)


def drifts(tables: Tables, statistics: str) -> pd.DataFrame:
    """Drift of every unit (rows) of every run (columns): mean distance of its percentiles from where they end, over
    the time after the first 1% of the steps, in widths (p85 − p15) of the final distribution."""
    seen = tables.probes["activations"]
    found = {}
    for run, rows in seen[seen["statistics"] == statistics].groupby("run", sort=False):
        steps = np.sort(rows["step"].unique())
        units = int(rows["unit"].max()) + 1
        values = rows.sort_values(["step", "unit"])[["p15", "p50", "p85"]].to_numpy().reshape(len(steps), units, 3)
        end = values[-1]
        late = steps >= steps[-1] / 100
        moved = stats.time_weighted_mean(np.abs(values[late] - end).mean(axis=2), steps[late])
        found[run] = moved / (end[:, 2] - end[:, 0])
    return pd.DataFrame(found)


def activation_distribution(results: Results) -> Judgement:
    tables = results.tables(EXPERIMENT)
    if tables is None or "layers" not in tables.probes:
        return not_run(EXPERIMENT, "" if tables is None else "no activations were recorded")
    pairs = pair_by_seed(tables.runs, results.treatment)
    if not len(pairs):
        return not_run(EXPERIMENT, f"no seed finished with both none and {results.treatment}")
    layers = tables.probes["layers"]
    layers = layers[(layers["statistics"] == "running") & (layers["step"] == layers["step"].max())]
    saturated = layers.pivot(index="run", columns="layer", values="saturated")

    def difference(columns: pd.DataFrame) -> Interval:
        mean = columns.mean(axis=1)
        return stats.paired_difference(mean[pairs.treatment].to_numpy() - mean[pairs.baseline].to_numpy())

    primary = difference(saturated)
    shown = {"mean of the layers": primary} | {
        f"hidden layer {layer + 1}": difference(saturated[[layer]]) for layer in saturated.columns
    }
    estimates = [
        Estimate(f"saturated share, {where}, difference", results.treatment, found, found is primary, "difference")
        for where, found in shown.items()
    ]
    mean = saturated.mean(axis=1)
    without, normalised = mean[pairs.baseline].to_numpy(), mean[pairs.treatment].to_numpy()
    seeds = pd.DataFrame(
        {"without": without, "with": normalised, "difference": normalised - without}, index=pairs.frame.index
    )
    verdict = stats.verdict(primary, zero=0, margin=0, claimed="below")
    return Judgement(verdict, estimates, pairs.notes, seeds)


CLAIMS = (
    Claim(
        slug="faster_training",
        group="A",
        sentence="With Batch Normalization the network reaches the plain network's accuracy in fewer training steps.",
        source="§4.1, Fig. 1a",
        experiment=EXPERIMENT,
        metric="ratio of steps, with BN over without, to the plain network's final test accuracy",
        rule="ratio at most 1/2",
        margin=0.5,
        paper="Fig. 1a shows it; no number is given",
        deviation=PROTOCOL,
        figure="mnist_training_accuracy",
        judge=faster_training,
    ),
    Claim(
        slug="higher_accuracy",
        group="A",
        sentence="The network with Batch Normalization ends at a higher test accuracy.",
        source="§4.1",
        experiment=EXPERIMENT,
        metric="difference of final test accuracy, with BN minus without",
        rule="difference above 0",
        margin=0.0,
        paper="said in the text and shown in Fig. 1a; no number is given",
        deviation=PROTOCOL,
        figure="mnist_training_accuracy",
        judge=higher_accuracy,
    ),
    Claim(
        slug="lower_training_loss",
        group="A",
        sentence="With Batch Normalization the training loss falls faster.",
        source="readers' training-loss figure",
        experiment=EXPERIMENT,
        metric="ratio of steps, with BN over without, to a mean mini-batch loss of 0.1",
        rule="ratio at most 1/2",
        margin=0.5,
        paper="not in the paper; readers show it without a number",
        deviation=PROTOCOL,
        figure="mnist_training_loss",
        judge=lower_training_loss,
    ),
    Claim(
        slug="stable_inputs",
        group="A",
        sentence="With Batch Normalization the distribution of the inputs to the last hidden sigmoids moves less.",
        source="§4.1, Fig. 1b, c",
        experiment=EXPERIMENT,
        metric="ratio of drift, with BN over without, median over the 100 units of the last hidden layer",
        rule="ratio at most 1/2",
        margin=0.5,
        paper="Fig. 1b, c show one sigmoid; no number is given",
        deviation=PROTOCOL + "; all 100 sigmoids instead of a typical one, on 1,000 fixed validation images",
        figure="mnist_training_inputs",
        judge=stable_inputs,
    ),
    Claim(
        slug="activation_distribution",
        group="A",
        sentence="With Batch Normalization the sigmoids' outputs stay off their saturated ends.",
        source="readers' activation figure",
        experiment=EXPERIMENT,
        metric="difference of the share of outputs outside [0.05, 0.95] after the last step, with BN minus without",
        rule="difference below 0",
        margin=0.0,
        paper="not in the paper; readers show it without a number",
        deviation=PROTOCOL,
        figure="mnist_training_activations",
        judge=activation_distribution,
    ),
)

DECLARED = Experiment(EXPERIMENT, CLAIMS, pictures.figures)
