"""What we conclude: questions by their weight, answered by the verdicts; every number is in claims.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bnrepro.claims import Claim, Judgement
from bnrepro.claims.markdown import table
from bnrepro.claims.naming import BATCH, about, short
from bnrepro.report.judge import MARKS, Found, anchor, deciding
from bnrepro.stats import (
    CONTRADICTED,
    DEPENDS,
    INCONCLUSIVE,
    MEASURED,
    NOT_RUN,
    SUPPORTED,
    VERDICTS,
    WEAKER,
    Estimate,
    words,
)

ANSWERS = {
    SUPPORTED: "Yes.",
    WEAKER: "Yes, but by less than the declared margin.",
    DEPENDS: "It depends on initial scale and learning rate.",
    CONTRADICTED: "No: here it is the other way round.",
    INCONCLUSIVE: "These runs do not decide it.",
    MEASURED: "There is no margin for it; measured:",
    NOT_RUN: "It has not been run.",
}
"""The verdict of a question's first claim → the answer."""


@dataclass(frozen=True)
class Point:
    """A claim within a question: what it claims, as a noun, and which other estimates are quoted.

    ``beside`` maps the name of an estimate to the words before its value. A name may end in the arm, ``name | arm``,
    where several arms have an estimate of that name.
    """

    slug: str
    noun: str
    beside: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Question:
    """What a reader wants to know. The first point answers it."""

    asked: str
    points: Sequence[Point] = field(default_factory=tuple)


SLOPE = "slope of log gradient norm on log weight norm over the initial scales, before training"
QUESTIONS = (
    Question("Does Batch Normalization train networks that do not train without it?", (
        Point("robust_to_init", "a wider range of initial scales", {"cells of the map, by which arm trains": ""}),
        Point("higher_learning_rates", "higher learning rates"),
        Point("plain_diverges", "an Inception at higher learning rates"),
        Point("saturating_nonlinearity", "an Inception with sigmoids"),
        Point("depth", "deeper stacks of layers with ReLU", {
            "ratio of the largest depths that train, sigmoid": "with sigmoids"}),
    )),
    Question("Does training take fewer steps?", (
        Point("faster_training", "at most half the steps to the plain network's accuracy, on MNIST", {
            "ratio of steps to the plain network's final accuracy, geometric mean over the cells": "mean"}),
        Point("fewer_steps_inception", "a fraction of the Inception's steps, with all changes of BN-x5", {
            "ratio of steps to Inception's maximum (the paper: 1/2.3) | bn_baseline": "Batch Normalization alone"}),
        Point("plain_with_changes", "a fraction of the steps with those changes in both"),
        Point("lower_training_loss", "a training loss that falls faster"),
    )),
    Question("Does the network end up more accurate?", (
        Point("higher_accuracy", "a higher final accuracy on MNIST", {
            "difference of final test accuracy, mean over the cells": "mean",
            "difference of final test accuracy, both tuned": "both tuned"}),
        Point("higher_accuracy_inception", "a higher accuracy of the Inception, even at thirty times the rate"),
        Point("thirty_times_is_best", "the highest accuracy at thirty times the rate, above five times"),
        Point("ensemble", "an ensemble better than its best member"),
        Point("regularizes", "less to be gained by dropout"),
    )),
    Question("Does the gain come from the larger rates that it permits?", (
        Point("gain_needs_large_rates", "a larger gain with each arm tuned than at equal small rates", {
            "gain of final test accuracy, each arm at its best cell on validation": "tuned",
            "gain at equal rates below the plain network's best, mean of the cells in which both train":
                "at equal small rates"}),
    )),
    Question("Does it reduce internal covariate shift, as the paper's title says?", (
        Point("covariate_shift", "gradients that change less as the layers before are updated", {
            "ratio of the L2 change, in norms of the gradient | batch": "in norms of the gradient"}),
        Point("stable_inputs", "at most half the drift of the inputs to the last hidden layer"),
        Point("activation_distribution", "fewer saturated outputs"),
    )),
    Question("Does it make training smoother?", (
        Point("smoother_landscape", "a loss that varies less along the step", {
            "ratio of the loss range, the small Inception": "on the small Inception"}),
        Point("layer_jacobian", "layer Jacobians with singular values near 1"),
        Point("parameter_growth", "weights that stop growing", {
            f"{SLOPE} | none": "exponent of the gradient's size in the weights', without", f"{SLOPE} | batch": "with"}),
    )),
    Question("Does it come at a price?", (
        Point("step_cost", "a step that takes longer", {"ratio of a step's time, inception": "on the small Inception"}),
        Point("tiny_batches", "accuracy lost with tiny mini-batches, unlike group normalisation", {
            "final test accuracy at 2 examples a batch | batch": "with 2 examples a mini-batch",
            "final test accuracy at 2 examples a batch | group": "group normalisation"}),
        Point("transfer_statistics", "accuracy lost to frozen statistics after a shift of the data"),
        Point("precise_statistics", "accuracy lost to the moving average, more so with small mini-batches"),
    )),
    Question("Are the details of the paper needed?", (
        Point("affine_needed", "γ and β"),
        Point("placement", "normalisation before the nonlinearity rather than after it"),
        Point("accelerations", "the other changes of §4.2.1"),
        Point("dispensable", "no dropout, no local response normalisation"),
    )),
)  # fmt: skip
"""In the order of their weight for someone who has to decide whether to use it."""


def section(found: Found) -> str:
    """The questions with their answers; then every claim, by verdict and by whose it is."""
    treatment = found.results.treatment
    known = {claim.slug: (claim, judgement) for claim, judgement in found}
    blocks = []
    for question in QUESTIONS:
        points = [point for point in question.points if point.slug in known]
        if points:
            answer = ANSWERS[known[points[0].slug][1].verdict]
            lines = [_line(point, *known[point.slug], treatment) for point in points]
            blocks.append(f"**{about(treatment, question.asked)}** {answer}\n\n" + "\n".join(lines))
    return "\n\n".join(["## What we conclude", *blocks, _by_verdict(found)])


def _line(point: Point, claim: Claim, judgement: Judgement, treatment: str) -> str:
    """``- ✔ a wider range of initial scales (robust_to_init, supported): of 8 rates …``."""
    said = [deciding(judgement)[0], *quoted(point, judgement, treatment)] if judgement.primary else []
    numbers = f": {'; '.join(said)}" if said else ""
    elsewhere = f" {judgement.evidence.words}" if judgement.evidence.words else ""
    link = f"([{claim.slug}](#{anchor(claim.slug)}), {judgement.verdict})"
    return f"- {MARKS[judgement.verdict]} {about(treatment, point.noun)} {link}{numbers}.{elsewhere}"


def quoted(point: Point, judgement: Judgement, treatment: str) -> list[str]:
    """The other estimates that the point names, as far as there are any: ``both tuned 0.5× (0.4× to 0.6×)``."""
    said = []
    for wanted, before in point.beside.items():
        name, _, arm = wanted.partition(" | ")
        arm = treatment if arm == BATCH else arm
        found = next((each for each in judgement.estimates if _is(each, about(treatment, name), arm)), None)
        if found is not None:
            said.append(f"{about(treatment, before)} {words(found)}".strip())
    return said


def _is(estimate: Estimate, name: str, arm: str) -> bool:
    return estimate.name == name and arm in ("", estimate.arm)


def _by_verdict(found: Found) -> str:
    """A row for every verdict that occurs, with the slugs of the paper's claims and of the others, as links."""
    origins = {"paper": "the paper's claims", "readers": "what readers and follow-ups add", "own": "your own"}
    present = [origin for origin in origins if any(claim.origin == origin for claim, _ in found)]
    rows = []
    for verdict in VERDICTS:
        cells = [
            ", ".join(
                f"[{claim.slug}](#{anchor(claim.slug)})" + ("\\*" if claim.rule.exact else "")
                for claim, judgement in found
                if claim.origin == origin and judgement.verdict == verdict
            )
            for origin in present
        ]
        if any(cells):
            rows.append([f"{MARKS[verdict]} {verdict}", *(cell or "–" for cell in cells)])
    asked = "" if found.results.treatment == BATCH else f", asked of {short(found.results.treatment)}"
    star = "\n\n\\* an exact property of the algorithm, which does not depend on any training."
    return f"**All claims by verdict{asked}**\n\n" + table(["", *(origins[each] for each in present)], rows) + star
