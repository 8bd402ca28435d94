"""What normalisers are called in sentences and legends. The claims are written about Batch Normalization.

Asked of another normaliser, a claim says its name instead: :func:`about` puts it into sentences, :func:`legend` into
legends. A user's own normaliser is called by the ``name`` in its file.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from contextvars import ContextVar

from bnrepro.stats import BASELINE

BATCH = "batch"
LONG = {
    BATCH: "Batch Normalization",
    "reference_batch": "Batch Normalization from scratch",
    "group": "group normalisation",
    "layer": "layer normalisation",
    "instance": "instance normalisation",
    "rms": "RMS normalisation",
    "weight": "weight normalisation",
    "batch_renorm": "batch renormalisation",
    "ghost_batch": "ghost batch normalisation",
    "filter_response": "filter response normalisation",
    "dynamic_tanh": "dynamic tanh",
}
SHORT = {BATCH: "BN", "reference_batch": "BN from scratch"} | {
    name: long.replace("normalisation", "norm") for name, long in LONG.items()
    if name not in (BATCH, "reference_batch")
}  # fmt: skip
LEGENDS = {
    "batch-after": "With BN, after the activation",
    "batch_no_affine": "With BN, no γ and β",
    "batch_noisy": "With BN and noise",
}
"""Arms whose names in a legend say more than that of the normaliser."""

_treatment: ContextVar[str] = ContextVar("treatment", default=BATCH)


@contextlib.contextmanager
def asked_of(treatment: str) -> Iterator[None]:
    """Meanwhile, figures compare ``treatment`` with the network without it: see :func:`legend`."""
    token = _treatment.set(treatment)
    try:
        yield
    finally:
        _treatment.reset(token)


def short(normaliser: str) -> str:
    """``BN``, ``group norm``, or the name of a user's own normaliser."""
    return SHORT.get(normaliser, normaliser)


def about(treatment: str, text: str) -> str:
    """``text``, which is about Batch Normalization, about ``treatment``."""
    if treatment == BATCH:
        return text
    names = {LONG[BATCH]: LONG.get(treatment, treatment), SHORT[BATCH]: short(treatment)}
    said = re.sub(rf"{LONG[BATCH]}|\b{SHORT[BATCH]}\b", lambda found: names[found[0]], text)
    begins = treatment in LONG and text[:1].isupper()  # a user's own name stays as it is
    return said[:1].upper() + said[1:] if begins else said


def legend(arm: str) -> str:
    """The name of an arm in a legend: normalisers are "with", an arm that somebody named otherwise is called that."""
    treatment = _treatment.get()
    if arm == BASELINE:
        return "Without BN" if treatment == BATCH else "Without normalisation"
    if arm in LEGENDS:
        return LEGENDS[arm]
    normaliser = arm.removesuffix("-after")
    if normaliser in SHORT or normaliser == treatment:
        return f"With {short(normaliser)}" + (", after the activation" if arm != normaliser else "")
    return arm
