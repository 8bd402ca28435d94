"""All claims, one file an experiment: numbers → rule → figure. A new file is found by itself."""

from __future__ import annotations

import importlib
import pkgutil

from bnrepro.claims.claim import Claim, Evidence, Experiment, Judgement


def _declared() -> dict[str, Experiment]:
    """Every experiment that a module of this package declares as ``DECLARED``, in the order of the report."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    found: list[Experiment] = [module.DECLARED for module in modules if hasattr(module, "DECLARED")]
    return {experiment.name: experiment for experiment in sorted(found, key=lambda each: (each.place, each.name))}


EXPERIMENTS: dict[str, Experiment] = _declared()
CLAIMS: tuple[Claim, ...] = tuple(claim for experiment in EXPERIMENTS.values() for claim in experiment.claims)


def asked_of(treatment: str) -> list[str]:
    """The experiments that are asked of ``treatment``: all of them of Batch Normalization, whose claims they are."""
    return [name for name, experiment in EXPERIMENTS.items() if experiment.any_normaliser or treatment == "batch"]
