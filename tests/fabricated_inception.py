"""Tables of the Inception's experiments with known answers, for the tests of their claims."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fabricated import finish, publish

from bnrepro.config.identity import arm_label
from bnrepro.config.schema import Config
from bnrepro.tables import Results

STEPS = [0, 100, 200, 400, 800, 1600, 3200]
DIGITS = ("data=digits", "data.enlarge=32", "data.standardize=true", "data.validation_examples=300")
Composed = Callable[..., list[Config]]
Plan = dict[str, tuple[float, int] | None]
"""Arm → (top, step from which on it is there), or None: it diverges."""

AS_THE_PAPER: Plan = {
    "inception": (0.70, 3200), "bn_baseline": (0.71, 1600), "bn_x5": (0.72, 200), "bn_x30": (0.75, 400),
    "bn_x5_sigmoid": (0.65, 3200), "inception_x5": None, "inception_sigmoid": (0.1, 0),
}  # fmt: skip


def made(composed: Composed, plan: Plan, folder: Path, *overrides: str) -> Results:
    for config in composed("experiment=inception_training", *DIGITS, "steps=3200", *overrides):
        top = plan[arm_label(config)]
        if top is None:
            chance = dict.fromkeys(("test/accuracy", "whole_test/accuracy"), lambda seed, step: 0.1)
            finish(config, chance, STEPS[:2], status="diverged", last_step=130)
            continue

        def accuracy(seed: int, step: int, top: tuple[float, int] = top) -> float:
            return top[0] + seed / 500 if step >= top[1] else 0.3

        finish(config, {"test/accuracy": accuracy, "whole_test/accuracy": accuracy}, STEPS)
    publish("inception_training", folder)
    return Results(folder)
