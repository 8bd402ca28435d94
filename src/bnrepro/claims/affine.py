"""§3: whether γ and β are needed for the network to keep its power."""

from __future__ import annotations

from bnrepro import stats
from bnrepro.claims.base import Claim, Estimate, Experiment, Judgement, Pairs, Results, paired, unless_lost
from bnrepro.pictures import affine as pictures
from bnrepro.tables import Tables

EXPERIMENT = "affine"
WITHOUT, WITH = "batch_no_affine", "batch"


@paired(EXPERIMENT, arms=(WITHOUT, WITH))
def affine_needed(results: Results, tables: Tables, pairs: Pairs) -> Judgement:
    accuracy = stats.final(stats.curve(tables.metrics, "test", "accuracy"))
    loss = stats.final(stats.curve(tables.metrics, "train", "loss"))
    final = pairs.difference(accuracy)
    estimates = [
        Estimate("final test accuracy, with γ and β minus without", WITH, final, True, "difference"),
        *pairs.each("final test accuracy", accuracy, WITH, "share", WITHOUT),
        Estimate("final training loss, difference", WITH, pairs.difference(loss), unit="number"),
    ]
    found = stats.verdict(final, zero=0, margin=0, claimed="above")
    rows = pairs.listed(accuracy, "difference")
    return Judgement(unless_lost(found, pairs.treatment_diverged), estimates, pairs.notes, rows)


CLAIMS = (
    Claim(
        slug="affine_needed",
        group="A",
        sentence="Without γ and β a sigmoid network with Batch Normalization ends at a lower test accuracy.",
        source="§3; readers",
        experiment=EXPERIMENT,
        metric="difference of final test accuracy, with γ and β minus without",
        rule="difference above 0",
        margin=0.0,
        paper="said of the layer's power; no experiment is given",
        deviation="the network of §4.1 on binary MNIST, 15,000 steps, at the rate and initialisation of mnist_training",
        figure="affine_accuracy",
        judge=affine_needed,
    ),
)

DECLARED = Experiment(EXPERIMENT, CLAIMS, pictures.figures, exam=False)
