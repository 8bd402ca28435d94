"""The finding in five sentences, made of the verdicts: no word of it says more than they do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bnrepro.claims import Claim, Judgement
from bnrepro.claims.naming import about
from bnrepro.report.judge import Found
from bnrepro.stats import (
    CONTRADICTED,
    DEPENDS,
    INCONCLUSIVE,
    MEASURED,
    NOT_RUN,
    SUPPORTED,
    WEAKER,
    OnMap,
    number,
)

SAID = {
    SUPPORTED: ("stands", "stand"),
    WEAKER: ("holds by less than the declared margin", "hold by less than the declared margin"),
    DEPENDS: ("depends on scale and rate", "depend on scale and rate"),
    CONTRADICTED: ("fails", "fail"),
    INCONCLUSIVE: ("is undecided", "are undecided"),
    MEASURED: ("is measured only", "are measured only"),
    NOT_RUN: ("has not been run", "have not been run"),
}
"""Verdict → the words for one claim, and for several."""


@dataclass(frozen=True)
class Topic:
    """A sentence: how it begins, and what each of its claims says, as a noun."""

    begins: str
    nouns: dict[str, str]


TOPICS = (
    Topic(
        "On the paper's MNIST network",
        {
            "faster_training": "fewer steps to the plain network's accuracy",
            "higher_accuracy": "a higher final accuracy",
            "higher_learning_rates": "training at higher learning rates",
            "robust_to_init": "training from more initial scales",
        },
    ),
    Topic(
        "On a small Inception",
        {
            "fewer_steps_inception": "the plain network's best accuracy in a fraction of the steps",
            "higher_accuracy_inception": "a higher accuracy even at thirty times the rate",
            "saturating_nonlinearity": "training with sigmoids",
        },
    ),
    Topic(
        "Why it works",
        {
            "covariate_shift": "less internal covariate shift",
            "smoother_landscape": "a smoother loss along the step",
            "gain_needs_large_rates": "a gain that comes from larger rates",
            "regularizes": "less need of dropout",
        },
    ),
    Topic(
        "What it costs",
        {
            "step_cost": "a dearer step",
            "tiny_batches": "a loss of accuracy with tiny mini-batches",
            "transfer_statistics": "harm by frozen statistics after a shift of the data",
        },
    ),
)


@dataclass(frozen=True)
class Part:
    """A piece of a sentence; with ``slug``, it is about that claim."""

    text: str
    slug: str = ""


def sentences(found: Found) -> list[list[Part]]:
    """At most five sentences, each in parts: the count of the verdicts, then one for every topic that is asked."""
    known = {claim.slug: (claim, judgement) for claim, judgement in found}
    told = [[Part(_counts(found))]]
    for topic in TOPICS:
        members = {slug: (noun, *known[slug]) for slug, noun in topic.nouns.items() if slug in known}
        if members:
            told.append(_sentence(topic.begins, members, found.results.treatment))
    return told


def _counts(found: Found) -> str:
    """``Of 24 empirical claims 12 stand and 4 fail; of 8 identities 8 stand.``"""
    parts = []
    for kinds, exact in ((("empirical claim", "empirical claims"), False), (("identity", "identities"), True)):
        verdicts = [judgement.verdict for claim, judgement in found if claim.rule.exact == exact]
        counts = [(verdicts.count(verdict), words) for verdict, words in SAID.items() if verdict in verdicts]
        if counts:
            said = listed([f"{count} {words[count > 1]}" for count, words in counts])
            parts.append(f"of {len(verdicts)} {kinds[len(verdicts) != 1]} {said}")
    whole = "; ".join(parts) or "no claim is asked here"
    return whole[:1].upper() + whole[1:] + "."


def _sentence(begins: str, members: dict[str, tuple[str, Claim, Judgement]], treatment: str) -> list[Part]:
    parts, linked = [Part(f"{begins}: ")], []
    for verdict, words in SAID.items():
        chosen = {slug: each for slug, each in members.items() if each[2].verdict == verdict}
        group = []
        for place, (slug, (noun, claim, judgement)) in enumerate(chosen.items()):
            joint = "" if not place else " and " if place == len(chosen) - 1 else ", "
            group += [Part(joint), Part(about(treatment, noun) + amount(claim, judgement), slug)]
        if group:
            linked.append([*group, Part(" " + words[len(chosen) > 1])])
    for place, group in enumerate(linked):
        parts += [*([Part("; ")] if place else []), *group]
    return [*parts, Part(".")]


def amount(claim: Claim, judgement: Judgement) -> str:
    """The deciding number in brackets, with a space before: `` (0.41×)``, or in which share of a map; or nothing."""
    primary = judgement.primary
    if primary is None or not math.isfinite(primary.interval.value):
        return ""
    if isinstance(claim.rule, OnMap):
        return f" (in {primary.interval.value:.0%} of the {claim.rule.units})"
    return f" ({single(primary.interval.value, primary.unit)})"


def single(value: float, unit: str) -> str:
    """One value with its unit: ``0.41×``, ``−0.58 points``, with a true minus and no sign at zero."""
    said = number(value, unit).replace("-", "−")
    said = said[1:] if not said.strip("+−0.") else said
    return f"{said} points" if unit == "difference" else said


def listed(parts: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
