"""The claims of the initialisation and dropout sweeps, on tables whose right answer is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fabricated import finish, publish

from bnrepro.claims import Results, dropout, init_scale
from bnrepro.config import Config

STEPS = [0, 100, 200, 300, 400, 500]
Composed = Callable[..., list[Config]]


def made(configs: list[Config], end: Callable[[Config], float | None], folder: Path) -> Results:
    """Each run ends at ``end``; None is a run that diverged."""
    for config in configs:
        value = end(config)
        more = {"status": "diverged", "last_step": 150} if value is None else {}
        flat = {
            f"{split}/accuracy": (lambda seed, step, v=value or 0.1: v) for split in ("test", "validation", "train")
        }
        finish(config, flat, STEPS[:2] if value is None else STEPS, **more)
    publish(configs[0].experiment, folder)
    return Results(folder)


def test_two_more_scales_are_one_decade(composed: Composed, tmp_path: Path) -> None:
    configs = composed("experiment=init_scale", "data=digits", "steps=500", "seed=0,1,2")

    def end(config: Config) -> float | None:
        trains = {"none": (0.03, 0.1, 0.3, 1), "batch": (0.01, 0.03, 0.1, 0.3, 1, 3)}[config.norm["name"]]
        return 0.95 if config.model.init_scale in trains else None if config.model.init_scale == 3 else 0.11

    judged = init_scale.robust_to_init(made(configs, end, tmp_path))
    assert judged.primary is not None
    assert judged.primary.interval.value == pytest.approx(1.0, abs=0.01)
    assert judged.verdict == "supported"
    assert any("none: trains in all 3 seeds at standard deviations 0.03, 0.1, 0.3, 1" in note for note in judged.notes)


def test_one_more_scale_is_within_the_margin(composed: Composed, tmp_path: Path) -> None:
    configs = composed("experiment=init_scale", "data=digits", "steps=500", "seed=0,1,2")

    def end(config: Config) -> float:
        return 0.95 if config.model.init_scale <= (0.3 if config.norm["name"] == "none" else 1) else 0.2

    assert init_scale.robust_to_init(made(configs, end, tmp_path)).verdict == "weaker"


def test_dropout_gains_less_with_bn(composed: Composed, tmp_path: Path) -> None:
    configs = composed("experiment=dropout", "data=digits", "data.train_examples=500", "steps=500", "seed=0,1,2")

    def end(config: Config) -> float:
        assert hasattr(config.model, "dropout")
        gain = {"none": 0.04, "batch": 0.01}[config.norm["name"]] * (config.model.dropout == 0.25)
        return 0.9 + gain + config.seed / 1000

    judged = dropout.regularizes(made(configs, end, tmp_path))
    assert judged.primary is not None
    assert judged.primary.interval.value == pytest.approx(0.03)
    assert judged.verdict == "supported"


def test_where_dropout_only_hurts_it_gains_nothing(composed: Composed, tmp_path: Path) -> None:
    configs = composed("experiment=dropout", "data=digits", "data.train_examples=500", "steps=500", "seed=0,1,2")
    judged = dropout.regularizes(made(configs, lambda c: 0.9 - c.model.dropout / 10, tmp_path))  # type: ignore[attr-defined]
    assert judged.primary is not None
    assert judged.primary.interval.value == 0.0
    assert judged.verdict == "inconclusive"


@pytest.mark.parametrize("claim", [init_scale.CLAIMS[0], dropout.CLAIMS[0]])
def test_a_partial_sweep_is_not_run_with_the_reason(claim, composed: Composed, tmp_path: Path) -> None:
    assert claim.judge(Results(tmp_path / "nothing")).verdict == "not run"
    configs = composed(
        f"experiment={claim.experiment}", "data=digits", "norm=none", "seed=0", "steps=500", "data.train_examples=500"
    )
    judged = claim.judge(made(configs, lambda config: 0.95, tmp_path))
    assert judged.verdict == "not run"
    assert judged.notes


@pytest.mark.parametrize("module", [init_scale, dropout])
def test_a_partial_sweep_is_drawn(module, composed: Composed, tmp_path: Path) -> None:
    name = module.EXPERIMENT
    configs = composed(f"experiment={name}", "data=digits", "seed=0,1", "steps=500", "data.train_examples=500")
    results = made(configs, lambda config: None if config.seed else 0.9, tmp_path)
    assert module.DECLARED.figures(results)
