"""The finding in five sentences, made of the verdicts: no word of it says more than they do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bnrepro.claims import Claim, Judgement
from bnrepro.claims.naming import about, short
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

COUNTED = {
    SUPPORTED: ("is supported", "are supported"),
    WEAKER: ("holds by less than the declared margin", "hold by less than the declared margin"),
    DEPENDS: ("depends on initial scale and learning rate", "depend on initial scale and learning rate"),
    CONTRADICTED: ("is contradicted", "are contradicted"),
    INCONCLUSIVE: ("is undecided", "are undecided"),
    MEASURED: ("is only measured", "are only measured"),
    NOT_RUN: ("has not been run", "have not been run"),
}
"""Verdict → the words for one claim, and for several."""
SAID = {
    SUPPORTED: ("{} is found to ", " and to "),
    WEAKER: ("by less than the declared margin, {} is found to ", " and to "),
    DEPENDS: ("in a part of the map, and not in another, {} is found to ", " and to "),
    CONTRADICTED: ("{} is found not to ", " or to "),
    INCONCLUSIVE: ("the runs leave open whether {} would ", " and "),
    NOT_RUN: ("there are no runs yet that could show {} to ", " or to "),
}
"""Verdict → what comes before the first of its claims, and before its last; ``{}`` is the normaliser, then "it"."""
WORDLESS = {"gain_needs_large_rates", "regularizes", "tiny_batches", "transfer_statistics"}
"""Claims whose number says nothing without its metric: a slope, or a difference of differences."""
AT = {"rates": "at", "scales": "at"}


@dataclass(frozen=True)
class Topic:
    """A sentence: how it begins, and what each of its claims says that the normaliser does, as an infinitive."""

    begins: str
    does: dict[str, str]


TOPICS = (
    Topic(
        "On the paper's MNIST network",
        {
            "faster_training": "reach the plain network's accuracy in fewer steps",
            "higher_accuracy": "end at a higher accuracy",
            "higher_learning_rates": "train at higher learning rates",
            "robust_to_init": "train from a wider range of initial scales",
        },
    ),
    Topic(
        "On a small Inception",
        {
            "fewer_steps_inception": "reach the plain network's best accuracy in a fraction of the steps",
            "plain_with_changes": "do so itself, not through the paper's other changes",
            "higher_accuracy_inception": "be more accurate even at thirty times the learning rate",
            "saturating_nonlinearity": "train with sigmoids",
        },
    ),
    Topic(
        "As for why it works",
        {
            "smoother_landscape": "smooth the loss along the step",
            "covariate_shift": "reduce internal covariate shift",
            "gain_needs_large_rates": "owe its gain to larger learning rates",
            "regularizes": "reduce the gain of dropout",
        },
    ),
    Topic(
        "As for its price",
        {
            "step_cost": "make a training step longer",
            "tiny_batches": "lose accuracy with tiny mini-batches",
            "transfer_statistics": "be harmed by frozen statistics once the data shift",
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
        members = [(text, *known[slug]) for slug, text in topic.does.items() if slug in known]
        if members:
            told.append(_sentence(topic.begins, members, found.results.treatment))
    return told


def _counts(found: Found) -> str:
    """``Of 24 empirical claims, 12 are supported and 4 are contradicted; of 8 identities, all 8 are supported.``"""
    parts = []
    for kinds, exact in ((("empirical claim", "empirical claims"), False), (("identity", "identities"), True)):
        verdicts = [judgement.verdict for claim, judgement in found if claim.rule.exact == exact]
        counts = [(verdicts.count(verdict), words) for verdict, words in COUNTED.items() if verdict in verdicts]
        if counts:
            all_of = "all " if len(counts) == 1 and len(verdicts) > 1 else ""
            said = listed([f"{all_of}{count} {words[count > 1]}" for count, words in counts])
            said = "none has been run" if set(verdicts) == {NOT_RUN} else said
            parts.append(f"of {len(verdicts)} {kinds[len(verdicts) != 1]}, {said}")
    whole = "; ".join(parts) or "no claim is asked here"
    return whole[:1].upper() + whole[1:] + "."


def _sentence(begins: str, members: list[tuple[str, Claim, Judgement]], treatment: str) -> list[Part]:
    parts, subject = [Part(f"{begins}, ")], short(treatment)
    for verdict, (before, last) in SAID.items():
        chosen = [each for each in members if each[2].verdict == verdict]
        for place, (does, claim, judgement) in enumerate(chosen):
            if not place:
                joint = ("; " if len(parts) > 1 else "") + before.format(subject)
            else:
                joint = last if place == len(chosen) - 1 else ", to "
            parts += [Part(joint), Part(about(treatment, does) + amount(claim, judgement), claim.slug)]
            subject = "it"
    return [*parts, Part(".")]


def amount(claim: Claim, judgement: Judgement) -> str:
    """The deciding number in brackets, with a space before: `` (0.41×)``, or in which share of a map; or nothing."""
    primary = judgement.primary
    if primary is None or not math.isfinite(primary.interval.value) or claim.slug in WORDLESS:
        return ""
    if isinstance(claim.rule, OnMap):
        return f" ({AT.get(claim.rule.units, 'in')} {share(claim.rule, judgement)})"
    return f" ({single(primary.interval.value, primary.unit)})"


def share(rule: OnMap, judgement: Judgement) -> str:
    """``87% of cells``, ``all scales``: where the claim holds by its margin if it is supported, else at all."""
    shares, primary = judgement.evidence.shares, judgement.primary
    assert primary is not None
    found = primary.interval if shares is None or judgement.verdict == SUPPORTED else shares.claimed.interval
    if not math.isfinite(found.value):
        return ""
    return f"all {rule.units}" if found.value == 1 else f"{found.value:.0%} of {rule.units}"


def single(value: float, unit: str) -> str:
    """One value with its unit: ``0.41×``, ``−0.58 points``, with a true minus and no sign at zero."""
    said = number(value, unit).replace("-", "−")
    said = said[1:] if not said.strip("+−0.") else said
    return f"{said} points" if unit == "difference" else said


def listed(parts: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
