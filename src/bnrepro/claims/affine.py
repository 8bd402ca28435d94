"""§3: whether γ and β are needed for the network to keep its power."""

from __future__ import annotations

from matplotlib.figure import Figure

from bnrepro import stats
from bnrepro.claims import style
from bnrepro.claims.claim import Claim, Evidence, Experiment, paired_runs, tables_of
from bnrepro.stats import Above, Estimate
from bnrepro.tables import Results

NAME = "affine"
WITHOUT, WITH = "batch_no_affine", "batch"
LINES = {WITHOUT: "--", WITH: "-"}


def affine_needed(results: Results) -> Evidence:
    tables, pairs = paired_runs(results, NAME, arms=(WITHOUT, WITH))
    accuracy = stats.final(stats.curve(tables.metrics, "test", "accuracy"))
    loss = stats.final(stats.curve(tables.metrics, "train", "loss"))
    gain = pairs.difference(accuracy)
    estimates = [
        Estimate("final test accuracy, with γ and β minus without", WITH, gain, True, "difference"),
        *pairs.each("final test accuracy", accuracy, WITH, "share", WITHOUT),
        Estimate("final training loss, difference", WITH, pairs.difference(loss), unit="number"),
    ]
    return Evidence(estimates, pairs.notes, pairs.listed(accuracy, "difference"), pairs.treatment_diverged)


CLAIMS = (
    Claim(
        slug="affine_needed",
        group="A",
        origin="paper",
        sentence="Without γ and β a sigmoid network with Batch Normalization ends at a lower test accuracy.",
        source="§3; readers",
        metric="difference of final test accuracy, with γ and β minus without",
        unit="difference",
        network="MLP of §4.1",
        rule=Above(0.0),
        paper="said of the layer's power; no experiment is given",
        deviation="the network of §4.1 on binary MNIST, 15,000 steps, at the rate and initialisation of mnist_training",
        figure="affine_accuracy",
        numbers=affine_needed,
    ),
)


def figures(results: Results) -> dict[str, Figure]:
    """Test accuracy and training loss after the first tenth of the steps; median and range of the seeds."""
    tables = tables_of(results, NAME)
    figure, [axes] = style.canvas(style.PAGE, 2.6, 1, 2)
    for panel, (split, metric) in zip(axes, (("test", "accuracy"), ("train", "loss")), strict=True):
        curves = style.late(stats.curve(tables.metrics, split, metric))
        for arm, line in LINES.items():
            if style.runs_of(tables, arm):
                style.band(panel, style.curves_of(curves, tables, arm), arm, style=line)
        style.training(panel, curves)
    axes[0].set(ylabel="test accuracy")
    axes[1].set(ylabel="mini-batch loss (nats)", yscale="log")
    style.decimals(axes[1].yaxis)
    style.panel_letters(axes, ["test accuracy", "training loss"])
    style.legend_below(figure, axes, 2)
    figure.suptitle(f"{style.range_note(tables)}, after the first tenth of the steps")
    return {"affine_accuracy": figure}


DECLARED = Experiment(NAME, 70, CLAIMS, figures, any_normaliser=False, arms=(WITHOUT,))
