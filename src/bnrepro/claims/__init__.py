"""All claims, one file per experiment: numbers → rule → figure. A new file needs no registration."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from bnrepro import matplotlib_import as matplotlib_import  # before any module that draws
from bnrepro.claims import beyond, own
from bnrepro.claims.claim import Claim, Evidence, Experiment, Judgement
from bnrepro.tables import Results


def _declared() -> dict[str, Experiment]:
    """The experiments that modules of this package declare as ``DECLARED``, in the order of the report."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    found: list[Experiment] = [module.DECLARED for module in modules if hasattr(module, "DECLARED")]
    return {experiment.name: experiment for experiment in sorted(found, key=lambda each: (each.place, each.name))}


EXPERIMENTS: dict[str, Experiment] = _declared()
CLAIMS: tuple[Claim, ...] = tuple(claim for experiment in EXPERIMENTS.values() for claim in experiment.claims)


def declared(folder: Path | None = None) -> dict[str, Experiment]:
    """The experiments of this package, then those that a user's own ``folder`` declares.

    Raises :class:`~bnrepro.errors.ConfigError` for a file of the folder that cannot be loaded.
    """
    return EXPERIMENTS if folder is None else EXPERIMENTS | own.load(folder, EXPERIMENTS.values())


def of(results: Results) -> dict[str, Experiment]:
    """Every experiment that may have tables below ``results``: the declared ones, then a user's without a claim."""
    known = declared(results.own)
    return known | beyond.own(results, known)


def remarks(results: Results) -> list[str]:
    """A sentence on each experiment below ``results`` with something that no claim judges."""
    said = (beyond.remark(results, experiment) for experiment in of(results).values())
    return [text for text in said if text]


def asked_of(treatment: str, folder: Path | None = None) -> list[str]:
    """The experiments whose claims are asked of ``treatment``: if it is Batch Normalization, all but those that only
    the comparison of normalisers asks.

    Among them are those that a user's own ``folder`` declares.
    """
    return [
        name
        for name, experiment in declared(folder).items()
        if experiment.any_normaliser or (treatment == "batch" and not experiment.compared_only)
    ]
