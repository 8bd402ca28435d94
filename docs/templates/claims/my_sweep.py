"""A claim of your own on the runs of experiment/my_sweep.yaml: numbers → rule → figure."""

from __future__ import annotations

from matplotlib.figure import Figure

from bnrepro import stats
from bnrepro.claims import style
from bnrepro.claims.claim import Claim, Evidence, Experiment, paired_runs
from bnrepro.stats import Above, Estimate
from bnrepro.tables import Results

NAME = "my_sweep"


def relu(results: Results) -> Evidence:
    """The difference of final test accuracy, seed by seed. One estimate is primary: the rule decides on it."""
    tables, pairs = paired_runs(results, NAME)  # the seeds that finished with none and with the treatment
    accuracy = stats.final(stats.curve(tables.metrics, "test", "accuracy"))
    estimates = [
        Estimate("final test accuracy, with BN minus without", results.treatment, pairs.difference(accuracy),
                 primary=True, unit="difference"),
        *pairs.each("final test accuracy", accuracy, results.treatment, "share"),
    ]  # fmt: skip
    return Evidence(estimates, pairs.notes, pairs.listed(accuracy, "difference"), pairs.treatment_diverged)


CLAIMS = (
    Claim(
        slug="my_relu",
        group="own",
        origin="own",
        sentence="With Batch Normalization a ReLU network ends at a higher test accuracy.",
        source="a question of my own",
        metric="difference of final test accuracy, with BN minus without",
        unit="difference",
        rule=Above(0.0),  # declare it before the runs: supported if the whole 95% interval lies above 0
        network="MLP of §4.1, with ReLU",
        paper="not in the paper, whose network on MNIST has sigmoids",
        deviation="the network of §4.1 with ReLU on binary MNIST, 10,000 steps at a learning rate of 0.5",
        figure="my_sweep_accuracy",
        numbers=relu,
    ),
)


def figures(results: Results) -> dict[str, Figure]:
    """Test accuracy over training. Without this function the report shows the curves of every arm instead."""
    tables, _ = paired_runs(results, NAME)
    curves = stats.curve(tables.metrics, "test", "accuracy")
    figure, [[axes]] = style.canvas(style.PAGE, 2.6)
    for arm in (stats.BASELINE, results.treatment):
        style.band(axes, style.curves_of(curves, tables, arm), arm, style=style.line(arm))
    style.training(axes, curves)
    axes.set_ylabel("test accuracy")
    style.legend_below(figure, axes, 2)
    figure.suptitle(style.range_note(tables))
    return {"my_sweep_accuracy": figure}


DECLARED = Experiment(NAME, claims=CLAIMS, draw=figures)
