"""§4.1, Fig. 1: what Batch Normalization does to the paper's network on binary MNIST."""

from __future__ import annotations

from bnrepro.claims.claim import Claim, Experiment
from bnrepro.claims.mnist_training import figures, numbers
from bnrepro.claims.mnist_training.numbers import NAME, TARGET_LOSS
from bnrepro.stats import Above, Below

PROTOCOL = (
    "as the paper: binary MNIST, 784-100-100-100-10, sigmoid, mini-batches of 60, 50,000 steps. Ours: 55,000 training "
    "images (5,000 are the validation set), plain SGD, learning rate and initialisation chosen on validation for the "
    "network without BN; the paper states neither"
)

CLAIMS = (
    Claim(
        slug="faster_training",
        group="A",
        origin="paper",
        sentence="With Batch Normalization the network reaches the plain network's accuracy in fewer training steps.",
        source="§4.1, Fig. 1a",
        metric="ratio of steps, with BN over without, to the plain network's final test accuracy",
        unit="ratio",
        rule=Below(0.5, null=1.0),
        paper="Fig. 1a shows it; no number is given",
        deviation=PROTOCOL,
        figure="mnist_training_accuracy",
        numbers=numbers.faster_training,
    ),
    Claim(
        slug="higher_accuracy",
        group="A",
        origin="paper",
        sentence="The network with Batch Normalization ends at a higher test accuracy.",
        source="§4.1",
        metric="difference of final test accuracy, with BN minus without",
        unit="difference",
        rule=Above(0.0),
        paper="said in the text and shown in Fig. 1a; no number is given",
        deviation=PROTOCOL,
        figure="mnist_training_accuracy",
        numbers=numbers.higher_accuracy,
    ),
    Claim(
        slug="lower_training_loss",
        group="A",
        origin="readers",
        sentence="With Batch Normalization the training loss falls faster.",
        source="readers' training-loss figure",
        metric=f"ratio of steps, with BN over without, to a mean mini-batch loss of {TARGET_LOSS:g}",
        unit="ratio",
        rule=Below(0.5, null=1.0),
        paper="not in the paper; readers show it without a number",
        deviation=PROTOCOL,
        figure="mnist_training_loss",
        numbers=numbers.lower_training_loss,
    ),
    Claim(
        slug="stable_inputs",
        group="A",
        origin="paper",
        sentence="With Batch Normalization the distribution of the inputs to the last hidden sigmoids moves less.",
        source="§4.1, Fig. 1b, c",
        metric="ratio of drift, with BN over without, median over the 100 units of the last hidden layer",
        unit="ratio",
        rule=Below(0.5, null=1.0),
        paper="Fig. 1b, c show one sigmoid; no number is given",
        deviation=PROTOCOL + "; all 100 sigmoids instead of a typical one, on 1,000 fixed validation images",
        figure="mnist_training_inputs",
        numbers=numbers.stable_inputs,
    ),
    Claim(
        slug="activation_distribution",
        group="A",
        origin="readers",
        sentence="With Batch Normalization the sigmoids' outputs stay off their saturated ends.",
        source="readers' activation figure",
        metric="difference of the share of outputs outside [0.05, 0.95] after the last step, with BN minus without",
        unit="difference",
        rule=Below(0.0),
        paper="not in the paper; readers show it without a number",
        deviation=PROTOCOL,
        figure="mnist_training_activations",
        numbers=numbers.activation_distribution,
    ),
)

DECLARED = Experiment(NAME, 20, CLAIMS, figures.figures)
