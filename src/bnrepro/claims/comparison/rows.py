"""The rows of the comparison of normalisers: claims about Batch Normalization, asked of any, each in one place.

A row is a claim with a rule of :mod:`.rules`, so that the same code judges it. Rows are grouped by ``where``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from bnrepro.claims import inception_normalisers, inception_training, operating_points
from bnrepro.claims.claim import Claim, Evidence, Inapplicable, NotRun, measurement_of
from bnrepro.claims.comparison import rules
from bnrepro.claims.mnist_training import numbers
from bnrepro.claims.naming import BATCH
from bnrepro.claims.normaliser_cost import NAME as COST
from bnrepro.claims.operating_points import effects, evidence, ranges
from bnrepro.claims.operating_points.evidence import Question
from bnrepro.claims.operating_points.reading import LIMIT, NAME, Map, read
from bnrepro.claims.operating_points.rules import RELU, SIGMOID
from bnrepro.stats import BASELINE, Estimate, Interval, Measured, paired_difference, paired_ratio, share_estimates
from bnrepro.tables import Results

TRAINS, MAP, TUNED, FIG1 = "trains", "map", "both tuned", "Fig. 1"
LIMITS, LIMITS_RELU = "rates, sigmoid", "rates, ReLU"
INCEPTION, PRICE_MLP, PRICE_INCEPTION = "Inception", "a step, MLP", "a step, Inception"
EXPERIMENTS = (NAME, "mnist_training", LIMIT, inception_training.NAME, inception_normalisers.NAME)
"""What is trained for the rows, in this order: the profile ``exam`` is whole in these experiments."""
SOURCES = {
    TRAINS: NAME, MAP: NAME, TUNED: NAME, FIG1: EXPERIMENTS[1], LIMITS: LIMIT, LIMITS_RELU: LIMIT,
    INCEPTION: inception_normalisers.NAME, PRICE_MLP: NAME, PRICE_INCEPTION: inception_normalisers.NAME,
}  # fmt: skip
"""Where a row is asked → the experiment whose network a normaliser has to fit."""
SEEDS = "seed=range(3)"
"""In every profile: with two seeds an interval is too wide to say anything."""


@dataclass(frozen=True)
class Row:
    """One question of the comparison: ``claim``, asked ``where``."""

    where: str
    claim: Claim

    @property
    def slug(self) -> str:
        return self.claim.slug

    @property
    def experiment(self) -> str:
        """What a normaliser has to be trained in for an answer."""
        return SOURCES[self.where]


DECLARED = {claim.slug: claim for claim in operating_points.CLAIMS}
QUESTIONS: dict[str, Question] = {
    "faster_training": operating_points.FASTER,
    "higher_accuracy": operating_points.HIGHER,
    "lower_training_loss": operating_points.LOWER,
    "stable_inputs": operating_points.STABLE,
}


def _tuned(question: Question) -> Callable[[Results], Evidence]:
    """The numbers of a claim of the map with each arm at its own best cell on validation."""

    def numbers_of(results: Results) -> Evidence:
        found = read(results)
        values = effects.tuned(question.effect, found)
        low, value, high = (frame.T[question.row] for frame in (values.low, values.value, values.high))
        interval = evidence.over_seeds(question.rule.effect, low, value, high)
        if interval is None:
            raise Inapplicable("with each arm at its best cell, no seed of either gets there")
        name = f"{question.label}, {evidence.TUNED}"
        cells = [_best(found, arm) for arm in (BASELINE, found.treatment)]
        return Evidence([Estimate(name, found.treatment, interval, True, question.rule.effect)], cells)

    return numbers_of


def _best(found: Map, arm: str) -> str:
    scale, rate = found.best(arm)
    return f"{scale:g} and {rate:g}" + (", on the edge of the grid" if evidence.on_edge(found, arm) else "")


def cells_trained(results: Results) -> Evidence:
    """Cells in which all seeds train, over those in which they do without the normaliser."""
    found = read(results)
    plain, treated = (passing.all(axis=1) for passing in found.passing)
    if not plain.any():
        raise Inapplicable("in no cell of the map does the plain network train with every seed")
    said = f"{treated.sum()} of {len(plain)}, without it {plain.sum()}, both in {(plain & treated).sum()}"
    counted = Interval(float(treated.sum() / plain.sum()), math.nan, math.nan, len(found.seeds))
    return Evidence([Estimate("cells in which it trains", results.treatment, counted, True, said=said)])


def _limits(activation: str) -> Callable[[Results], Evidence]:
    """The ratio of the largest rates that train, at the scales of stability_limit."""

    def numbers_of(results: Results) -> Evidence:
        shares = rules.LIMITS.shares(*ranges.ratios_of_limits(read(results, LIMIT, activation=activation)))
        return Evidence(share_estimates(rules.LIMITS, shares, results.treatment), shares=shares)

    return numbers_of


def as_accurate(results: Results) -> Evidence:
    """Final test accuracy minus that with Batch Normalization, each at its own best cell on validation."""
    if results.treatment == BATCH:
        raise Inapplicable("it is what the others are compared with")
    own, batch = (read(each) for each in (results, results.asked_of(BATCH)))
    mine, theirs = (
        dict(zip(each.seeds, each.over(arm, each.final("test", "accuracy"), each.best(arm)), strict=True))
        for each, arm in ((own, results.treatment), (batch, BATCH))
    )
    seeds = [seed for seed in mine if seed in theirs]
    if not seeds:
        raise NotRun(NAME, f"no seed of {NAME} has both {results.treatment} and {BATCH}")
    gaps = paired_difference([mine[seed] - theirs[seed] for seed in seeds])
    name = f"final test accuracy minus that with {BATCH}, {evidence.TUNED}"
    return Evidence([Estimate(name, results.treatment, gaps, True, "difference")])


def _price(model: str) -> Callable[[Results], Evidence]:
    """The time of a training step over the plain network's."""

    def numbers_of(results: Results) -> Evidence:
        frame = measurement_of(results, COST).frame
        rows = frame[frame["model"] == model]
        seconds = rows.pivot(index="round", columns="arm", values="seconds")
        if not {BASELINE, results.treatment} <= set(seconds):
            raise NotRun(COST, f"no step of {model} was timed with {results.treatment}")
        ratio = paired_ratio(seconds[results.treatment], seconds[BASELINE])
        return Evidence([Estimate("time of a step over the plain network's", results.treatment, ratio, True)])

    return numbers_of


LIMIT_CLAIM = DECLARED["higher_learning_rates"]
ACCURATE = Claim(
    slug="as_accurate_as_batch",
    group="A",
    origin="readers",
    sentence="The network ends at most half a point below the paper's own normaliser, each at its own best scale and "
    "rate.",
    source="readers' question: which normaliser to use",
    metric=f"final test accuracy minus that with {BATCH}, each at its own best cell on validation",
    unit="difference",
    rule=rules.AS_ACCURATE,
    paper="does not ask it",
    deviation=operating_points.PROTOCOL,
    figure="comparison",
    numbers=as_accurate,
)
IN_INCEPTION = "BN-x5 with the normaliser in the place of the paper's own; 3 seeds"


def _of_inception(slug: str, rule, numbers_of: Callable[[Results], Evidence], unit: str, metric: str, says: str):
    """A claim about BN-x5 with any normaliser."""
    declared = inception_training.CLAIMS[0]
    return replace(
        declared, slug=slug, rule=rule, numbers=numbers_of, unit=unit, metric=metric, sentence=says,
        deviation=f"{inception_training.PROTOCOL}; {IN_INCEPTION}", figure="comparison",
    )  # fmt: skip


ROWS: tuple[Row, ...] = (
    Row(
        TRAINS,
        # Declared after the runs, so that it decides nothing: the other rows of the map are silent about these cells.
        replace(
            ACCURATE, slug="cells_trained", rule=Measured(), numbers=cells_trained, unit="ratio",
            sentence="The network trains in more cells of the map.", source="readers",
            metric="cells of the map in which all seeds train, over those in which they do without the normaliser",
        ),
    ),
    *(Row(MAP, replace(DECLARED[slug], rule=rule)) for slug, rule in rules.ON_MAP.items()),
    *(
        Row(where, replace(LIMIT_CLAIM, rule=rules.LIMITS, numbers=_limits(activation)))
        for where, activation in ((LIMITS, SIGMOID), (LIMITS_RELU, RELU))
    ),
    *(
        Row(
            TUNED,
            replace(
                DECLARED[slug], rule=QUESTIONS[slug].rule.each, numbers=_tuned(QUESTIONS[slug]),
                unit=QUESTIONS[slug].rule.effect, metric=f"{QUESTIONS[slug].label}, each arm at its best cell",
            ),
        )
        for slug in rules.TUNED
    ),
    Row(TUNED, ACCURATE),
    *(
        Row(
            FIG1,
            replace(
                DECLARED[slug], rule=QUESTIONS[slug].rule.each, numbers=getattr(numbers, slug),
                unit=QUESTIONS[slug].rule.effect, metric=f"{QUESTIONS[slug].label}, at the plain network's best cell",
            ),
        )
        for slug in rules.AT_ONE_CELL
    ),
    Row(
        INCEPTION,
        _of_inception(
            "fewer_steps_inception", rules.INCEPTION_STEPS, inception_normalisers.fewer_steps, "ratio",
            "ratio of steps, BN-x5 with the normaliser over Inception, to Inception's maximum test accuracy",
            inception_training.CLAIMS[0].sentence,
        ),
    ),
    Row(
        INCEPTION,
        _of_inception(
            "higher_accuracy_inception", rules.INCEPTION_HIGHER, inception_normalisers.higher_accuracy, "difference",
            "difference of maximum test accuracy, BN-x5 with the normaliser minus Inception",
            "With Batch Normalization, and what it lets be changed, the Inception reaches a higher accuracy.",
        ),
    ),
    Row(
        INCEPTION,
        _of_inception(
            "as_accurate_as_batch", rules.INCEPTION_AS_ACCURATE, inception_normalisers.as_accurate, "difference",
            "difference of maximum test accuracy, BN-x5 with the normaliser minus BN-x5",
            "The Inception ends at most two points below the paper's own normaliser.",
        ),
    ),
    *(
        Row(
            where,
            replace(
                ACCURATE, slug="step_cost", group="C", rule=rules.COST, numbers=_price(model), unit="ratio",
                sentence="Each training step costs more.", metric="time of a training step over the plain network's",
                source="readers", deviation="timed in turn in one process on one core",
            ),
        )
        for where, model in ((PRICE_MLP, "mlp"), (PRICE_INCEPTION, "inception"))
    ),
)  # fmt: skip
