"""The map: what Batch Normalization does to §4.1's network over initial scale × learning rate.

Declared here: the claims that a single cell would decide. Their rules stand in :mod:`.rules`.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from bnrepro.claims.claim import Claim, Experiment
from bnrepro.claims.mnist_training import numbers
from bnrepro.claims.operating_points import appendix, curves, effects, limits, panels, plane, rules
from bnrepro.claims.operating_points.evidence import Question
from bnrepro.claims.operating_points.gain import gain_needs_large_rates
from bnrepro.claims.operating_points.growth import parameter_growth
from bnrepro.claims.operating_points.ranges import higher_learning_rates, robust_to_init
from bnrepro.claims.operating_points.reading import NAME, read
from bnrepro.tables import Results

FIGURE, PANELS = "operating_points_map", "operating_points_claims"
PROTOCOL = (
    "the network of §4.1 (784-100-100-100-10, sigmoid, binary MNIST, mini-batches of 60, plain SGD) at 8 initial "
    "standard deviations from 0.001 to 3 and 9 learning rates from 0.01 to 100, half a decade apart, 10,000 steps "
    "instead of 50,000, 5 seeds; validation and test accuracy on 2,000 fixed images each. The paper states neither "
    "standard deviation nor rate"
)
BOTH_TRAIN = f"in the cells in which both arms end at {rules.PASS:.0%} validation accuracy or more in every seed"

FASTER = Question(
    rules.FASTER_TRAINING, effects.steps_to_accuracy, "ratio of steps to the plain network's final accuracy",
    effects.WHOLE, numbers.faster_training,
)  # fmt: skip
HIGHER = Question(
    rules.HIGHER_ACCURACY, effects.accuracy, "difference of final test accuracy", effects.WHOLE,
    numbers.higher_accuracy,
)  # fmt: skip
LOWER = Question(
    rules.LOWER_TRAINING_LOSS, effects.steps_to_loss, "ratio of steps to a training loss", "0.1",
    numbers.lower_training_loss, "loss",
)  # fmt: skip
STABLE = Question(
    rules.STABLE_INPUTS, effects.drift, "ratio of drift", effects.part_label("median", 1.0), numbers.stable_inputs,
    "drift,", budgets=False,
)  # fmt: skip
SATURATED = Question(
    rules.ACTIVATION_DISTRIBUTION, effects.saturation, "difference of the saturated share", "hidden layer 3",
    numbers.activation_distribution, "saturation,",
)  # fmt: skip

CLAIMS = (
    Claim(
        slug="faster_training",
        group="A",
        origin="paper",
        sentence="With Batch Normalization the network reaches the plain network's accuracy in fewer training steps.",
        source="§4.1, Fig. 1a",
        metric="share of cells in which BN takes at most half of the plain network's steps to the plain network's "
        f"final test accuracy, {BOTH_TRAIN}",
        unit="share",
        network="MLP of §4.1",
        rule=rules.FASTER_TRAINING,
        paper="Fig. 1a shows it; no number is given",
        deviation=PROTOCOL,
        figure=FIGURE,
        numbers=FASTER,
    ),
    Claim(
        slug="higher_accuracy",
        group="A",
        origin="paper",
        sentence="The network with Batch Normalization ends at a higher test accuracy.",
        source="§4.1",
        metric=f"share of cells in which BN ends at a higher test accuracy, {BOTH_TRAIN}",
        unit="share",
        network="MLP of §4.1",
        rule=rules.HIGHER_ACCURACY,
        paper="said in the text and shown in Fig. 1a; no number is given",
        deviation=PROTOCOL,
        figure=PANELS,
        numbers=HIGHER,
    ),
    Claim(
        slug="lower_training_loss",
        group="A",
        origin="readers",
        sentence="With Batch Normalization the training loss falls faster.",
        source="readers' training-loss figure",
        metric="share of cases (a cell and a target) in which BN takes at most half of the steps to the target, nine "
        f"mean mini-batch losses from 1 to 0.01 nats, {BOTH_TRAIN}",
        unit="share",
        network="MLP of §4.1",
        rule=rules.LOWER_TRAINING_LOSS,
        paper="not in the paper; readers show it without a number",
        deviation=PROTOCOL,
        figure=PANELS,
        numbers=LOWER,
    ),
    Claim(
        slug="stable_inputs",
        group="A",
        origin="paper",
        sentence="With Batch Normalization the distribution of the inputs to the last hidden sigmoids moves less.",
        source="§4.1, Fig. 1b, c",
        metric="share of cases (a cell, a statistic, a part of training) in which the drift with BN is at most half of "
        "that without: the median, the mean and the 90th percentile of the 100 units, over the first 2%, 10%, 50% and "
        f"all of training, {BOTH_TRAIN}",
        unit="share",
        network="MLP of §4.1",
        rule=rules.STABLE_INPUTS,
        paper="Fig. 1b, c show one sigmoid; no number is given",
        deviation=PROTOCOL + "; all 100 sigmoids instead of a typical one",
        figure=PANELS,
        numbers=STABLE,
    ),
    Claim(
        slug="activation_distribution",
        group="A",
        origin="readers",
        sentence="With Batch Normalization the sigmoids' outputs stay off their saturated ends.",
        source="readers' activation figure",
        metric="share of cases (a cell and a hidden layer) in which fewer outputs lie outside [0.05, 0.95] with BN "
        f"after the last step, {BOTH_TRAIN}",
        unit="share",
        network="MLP of §4.1",
        rule=rules.ACTIVATION_DISTRIBUTION,
        paper="not in the paper; readers show it without a number",
        deviation=PROTOCOL,
        figure=PANELS,
        numbers=SATURATED,
    ),
    Claim(
        slug="higher_learning_rates",
        group="A",
        origin="paper",
        sentence="With Batch Normalization the network trains at learning rates at which it otherwise cannot.",
        source="§3.3",
        metric="share of initial scales at which the largest rate that trains is at least three times as large with "
        "BN, for certain: each limit lies between two rates of the grid; sigmoid",
        unit="share",
        network="MLP of §4.1",
        rule=rules.HIGHER_LEARNING_RATES,
        paper="the Inception trains at 30 times the rate; at 5 times the rate it fails without BN (§4.2.1)",
        deviation="the network of §4.1; 18 rates a factor of 1.3 apart at five initial scales, 2,000 steps, 3 seeds",
        figure="operating_points_limits",
        numbers=higher_learning_rates,
    ),
    Claim(
        slug="robust_to_init",
        group="A",
        origin="paper",
        sentence="With Batch Normalization the network trains from a wider range of initial scales.",
        source="§1, §3.3",
        metric="share of learning rates at which the range of scales that train is wider with BN by half a decade or "
        "more, for certain: each end of a range lies between two scales of the grid; among the rates at which "
        "either arm trains",
        unit="share",
        network="MLP of §4.1",
        rule=rules.ROBUST_TO_INIT,
        paper="said in the text; no experiment is given",
        deviation=PROTOCOL,
        figure=FIGURE,
        numbers=robust_to_init,
    ),
    Claim(
        slug="parameter_growth",
        group="D",
        origin="paper",
        sentence="With Batch Normalization, larger weights get smaller gradients, and their growth levels off.",
        source="§3.3",
        metric="share of cells in which the norm of the hidden layers' weights changes by at most half as much in the "
        f"second half of training with BN, in logarithms, {BOTH_TRAIN}",
        unit="share",
        network="MLP of §4.1",
        rule=rules.PARAMETER_GROWTH,
        paper="argued from the third identity; no experiment is given",
        deviation=PROTOCOL,
        figure=PANELS,
        numbers=parameter_growth,
    ),
    Claim(
        slug="gain_needs_large_rates",
        group="D",
        origin="readers",
        sentence="The gain of Batch Normalization comes from the larger learning rates that it permits.",
        source="readers; Bjorck et al. 2018",
        metric="gain of final test accuracy with each arm at its best cell, minus the gain at equal rates below the "
        "plain network's best one",
        unit="difference",
        network="MLP of §4.1",
        rule=rules.GAIN_NEEDS_LARGE_RATES,
        paper="lists higher learning rates first among what BN enables (§4.2.1); does not separate the two",
        deviation=PROTOCOL,
        figure="operating_points_gain",
        numbers=gain_needs_large_rates,
    ),
)


def figures(results: Results) -> dict[str, Figure]:
    """The map, and the other claims' maps; the limits, the gain, and Fig. 1a at three operating points."""
    found = read(results)
    return {
        FIGURE: plane.draw(found),
        "operating_points_stories": curves.stories(found),
        PANELS: panels.draw(found),
        "operating_points_limits": limits.draw(results),
        "operating_points_gain": curves.gain(found),
    }


DECLARED = Experiment(NAME, 5, CLAIMS, figures, appendix.section)
