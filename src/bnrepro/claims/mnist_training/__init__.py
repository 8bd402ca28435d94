"""§4.1, Fig. 1: what Batch Normalization does to the paper's network on binary MNIST, at one operating point.

It carries no claim: :mod:`bnrepro.claims.operating_points` judges over many cells, and prints these estimates beside.
"""

from __future__ import annotations

from bnrepro.claims import points
from bnrepro.claims.claim import Experiment
from bnrepro.claims.mnist_training import figures, numbers
from bnrepro.claims.mnist_training.numbers import NAME
from bnrepro.tables import Results

WHERE = (
    "The network and the 50,000 steps of §4.1, both arms at the initial scale and learning rate that are best on "
    "validation for the network *without* BN (mnist_tuning). One operating point of many: the verdicts are those of "
    "the map."
)


def section(results: Results) -> str:
    """The estimates of the claims of Fig. 1 at the one operating point."""
    asked = (
        numbers.faster_training,
        numbers.higher_accuracy,
        numbers.lower_training_loss,
        numbers.stable_inputs,
        numbers.activation_distribution,
    )
    return points.section(results, "Fig. 1 at the plain network's best cell", WHERE, {f.__name__: f for f in asked})


DECLARED = Experiment(NAME, 20, (), figures.figures, section)
