"""The estimates of Fig. 1 at one operating point, on tables whose right answer is known."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fabricated import finish, publish

from bnrepro.claims import Judgement, mnist_training, operating_points
from bnrepro.claims.claim import Inapplicable
from bnrepro.claims.mnist_training import numbers
from bnrepro.claims.mnist_training.numbers import drifts
from bnrepro.config.schema import Config
from bnrepro.stats import OnMap, words
from bnrepro.tables import Results

STEPS = [0, 10, 20, 40, 80, 160, 320, 640]
Composed = Callable[..., list[Config]]


@pytest.fixture
def runs(composed: Composed) -> Callable[[str, int], Config]:
    configs = composed("experiment=mnist_training", "data=digits", "steps=640")
    by_name = {(config.norm["name"], config.seed): config for config in configs}
    return lambda arm, seed: by_name[arm, seed]


SLUGS = ("faster_training", "higher_accuracy", "lower_training_loss", "stable_inputs", "activation_distribution")


def judged_as(slug: str, folder: Path) -> Judgement:
    """What the margin within one cell of the map makes of this one."""
    [claim] = [each for each in operating_points.CLAIMS if each.slug == slug]
    assert isinstance(claim.rule, OnMap)
    alone = dataclasses.replace(claim, rule=claim.rule.each, unit=claim.rule.effect, numbers=getattr(numbers, slug))
    return alone.judge(Results(folder))


def rising(half: float, end: float) -> Callable[[int, int], float]:
    """An accuracy that comes to ``end`` and is within 1e-9 of it from about 40 × ``half`` steps on."""
    return lambda seed, step: end * (1 - 2.0 ** (-(step * (1 + seed / 100)) / half))


def test_four_times_faster_is_supported(runs, tmp_path: Path) -> None:
    for seed in range(4):
        finish(runs("none", seed), {"test/accuracy": rising(64, 0.9)}, STEPS)
        finish(runs("batch", seed), {"test/accuracy": rising(8, 0.96)}, STEPS)
    publish("mnist_training", tmp_path)
    judged = judged_as("faster_training", tmp_path)
    assert judged.verdict == "supported"
    assert judged.primary is not None
    assert judged.primary.interval.n == 4
    # none: mean of its last five evaluations, first reached at 160; with: at 20 or 40
    assert judged.primary.interval.value < 0.26
    higher = judged_as("higher_accuracy", tmp_path)
    assert higher.verdict == "supported"


def test_the_same_curves_support_nothing(runs, tmp_path: Path) -> None:
    for seed in range(4):
        for arm in ("none", "batch"):
            finish(runs(arm, seed), {"test/accuracy": rising(20, 0.9), "train/loss": rising(-20, 1)}, STEPS)
    publish("mnist_training", tmp_path)
    judged = judged_as("faster_training", tmp_path)
    assert judged.verdict == "inconclusive"
    assert judged.estimates[0].interval.value == 1.0
    assert judged_as("higher_accuracy", tmp_path).verdict == "inconclusive"


def test_slower_and_lower_is_contradicted(runs, tmp_path: Path) -> None:
    for seed in range(4):
        finish(runs("none", seed), {"test/accuracy": rising(8, 0.96)}, STEPS)
        finish(runs("batch", seed), {"test/accuracy": rising(64, 0.95)}, STEPS)
    publish("mnist_training", tmp_path)
    assert judged_as("faster_training", tmp_path).verdict == "contradicted"
    assert judged_as("higher_accuracy", tmp_path).verdict == "contradicted"


def test_a_treatment_run_that_never_reaches_the_target_forbids_support(runs, tmp_path: Path) -> None:
    for seed in range(6):
        finish(runs("none", seed), {"test/accuracy": rising(300, 0.9)}, STEPS)
        end = 0.2 if seed == 0 else 0.96
        finish(runs("batch", seed), {"test/accuracy": rising(1, end)}, STEPS)
    publish("mnist_training", tmp_path)
    judged = judged_as("faster_training", tmp_path)
    assert judged.verdict != "supported"
    assert any("1 of 6 runs with batch never reached" in note for note in judged.notes)


def test_a_diverged_run_has_no_final_value_and_is_counted(runs, tmp_path: Path) -> None:
    for seed in range(4):
        finish(runs("none", seed), {"test/accuracy": rising(64, 0.9)}, STEPS)
        last = {"status": "diverged", "last_step": 33} if seed == 3 else {}
        finish(runs("batch", seed), {"test/accuracy": rising(8, 0.96)}, STEPS[: 3 if last else None], **last)
    publish("mnist_training", tmp_path)
    judged = judged_as("higher_accuracy", tmp_path)
    assert judged.primary is not None
    assert judged.primary.interval.n == 3
    assert judged.verdict == "inconclusive"
    assert any("1 of 4 runs of the arm batch diverged" in note for note in judged.notes)


def test_a_baseline_that_never_gets_there_counts_as_the_budget(runs, tmp_path: Path) -> None:
    for seed in range(3):
        finish(runs("none", seed), {"train/loss": lambda seed, step: 0.5}, STEPS)
        finish(runs("batch", seed), {"train/loss": lambda seed, step: 1.0 if step < 80 else 0.05}, STEPS)
    publish("mnist_training", tmp_path)
    judged = judged_as("lower_training_loss", tmp_path)
    assert judged.primary is not None
    assert judged.primary.interval.value == pytest.approx(80 / 640)
    assert judged.verdict == "supported"
    assert any("3 of 3 runs of the arm none never reached 0.1" in note for note in judged.notes)


def activations(shift: Callable[[int], float]) -> str:
    """Three units whose percentiles are −1, 0 and 1, moved together by ``shift`` of the step."""
    rows = [
        f"{step},running,{percentile}," + ",".join([f"{shift(step) + place:.6g}"] * 3)
        for step in STEPS
        for percentile, place in ((15, -1), (50, 0), (85, 1))
    ]
    return "\n".join(["step,statistics,percentile,u0,u1,u2", *rows, ""])


def test_drift_is_the_time_weighted_distance_from_the_end_in_widths(runs, tmp_path: Path) -> None:
    for seed in range(3):
        moving = activations(lambda step: 0.8 * (640 - step) / 640)
        still = activations(lambda step: 0.1 * (640 - step) / 640)
        finish(runs("none", seed), {"test/accuracy": rising(8, 0.9)}, STEPS, activations=moving)
        finish(runs("batch", seed), {"test/accuracy": rising(8, 0.9)}, STEPS, activations=still)
    publish("mnist_training", tmp_path)
    tables = Results(tmp_path).tables("mnist_training")
    assert tables is not None
    found = drifts(tables, "running")
    # A line from 0.8 at step 0 to 0 at step 640, from step 10 on, over a width of 2.
    mean = 0.8 * np.mean([(640 - 10) / 640, 0.0]) / 2
    assert found.max().max() == pytest.approx(mean, rel=1e-5)
    judged = judged_as("stable_inputs", tmp_path)
    assert judged.verdict == "supported"
    assert judged.primary is not None
    assert judged.primary.interval.value == pytest.approx(1 / 8)


def test_runs_that_were_looked_at_once_have_no_drift_and_the_report_says_so(runs, tmp_path: Path) -> None:
    once = "\n".join(["step,statistics,percentile,u0", *(f"640,running,{each},0" for each in (15, 50, 85)), ""])
    for arm in ("none", "batch"):
        curves = {"test/accuracy": rising(8, 0.9), "train/loss": rising(8, 1)}
        finish(runs(arm, 0), curves, STEPS, activations=once)
    publish("mnist_training", tmp_path)
    assert mnist_training.DECLARED.section is not None
    assert "- stable_inputs: a run has no two looks at its activations" in mnist_training.DECLARED.section(
        Results(tmp_path)
    )


def test_inputs_that_end_at_one_value_have_no_width_to_move_in(runs, tmp_path: Path) -> None:
    """As with a normaliser that cuts its output off from below, which is all that is left of some units."""
    for arm, width in (("none", 1.0), ("batch", 0.0)):
        looks = [
            f"{step},running,{each},{(640 - step) / 640 + width * (each - 50) / 35}"
            for step in (10, 320, 640)
            for each in (15, 50, 85)
        ]
        curves = {"test/accuracy": rising(8, 0.9), "train/loss": rising(8, 1)}
        finish(runs(arm, 0), curves, STEPS, activations="\n".join(["step,statistics,percentile,u0", *looks, ""]))
    publish("mnist_training", tmp_path)
    with pytest.raises(Inapplicable, match="in 1 of its runs a unit's inputs end at one value"):
        numbers.stable_inputs(Results(tmp_path))


@pytest.mark.parametrize("early", [1, 0])
def test_inputs_without_a_width_early_in_training_have_no_early_drift(early: int, runs, tmp_path: Path) -> None:
    for arm, widths in (("none", (1, 1, 1)), ("batch", (1, early, 1))):
        looks = [
            f"{step},running,{each},{(640 - step) / 640 + width * (each - 50) / 35}"
            for step, width in zip((10, 50, 640), widths, strict=True)
            for each in (15, 50, 85)
        ]
        curves = {"test/accuracy": rising(8, 0.9), "train/loss": rising(8, 1)}
        finish(runs(arm, 0), curves, STEPS, activations="\n".join(["step,statistics,percentile,u0", *looks, ""]))
    publish("mnist_training", tmp_path)
    names = [each.name for each in numbers.stable_inputs(Results(tmp_path)).estimates]
    assert sum("within the first 10% of the steps" in name for name in names) == early
    assert names[0] == "ratio of drift, median over the units"


@pytest.mark.parametrize(
    ("seeds", "shown", "panels"), [({"none": (1, 2), "batch": (2, 3)}, 2, 2), ({"none": (4,), "batch": (3,)}, 3, 1)]
)
def test_the_inputs_are_those_of_the_smallest_seed_that_most_arms_have(
    seeds: dict[str, tuple[int, ...]], shown: int, panels: int, runs, tmp_path: Path
) -> None:
    for arm, own in seeds.items():
        for seed in own:
            still = activations(lambda step: 0.0)
            finish(
                runs(arm, seed), {"test/accuracy": rising(8, 0.9), "train/loss": rising(8, 1)}, STEPS, activations=still
            )
    publish("mnist_training", tmp_path)
    figure = mnist_training.DECLARED.figures(Results(tmp_path))["mnist_training_inputs"]
    assert f"seed {shown}:" in figure.get_suptitle()
    assert len(figure.axes) == panels


def test_saturation_is_compared_after_the_last_step(runs, tmp_path: Path) -> None:
    def layers(last: float) -> str:
        rows = [f"{step},{layer},running,0,0,0,{last if step == 640 else 0.99}" for step in STEPS for layer in (0, 1)]
        return "\n".join(["step,layer,statistics,p15,p50,p85,saturated", *rows, ""])

    for seed in range(3):
        finish(runs("none", seed), {"test/accuracy": rising(8, 0.9)}, STEPS, layers=layers(0.5 + seed / 100))
        finish(runs("batch", seed), {"test/accuracy": rising(8, 0.9)}, STEPS, layers=layers(0.1))
    publish("mnist_training", tmp_path)
    judged = judged_as("activation_distribution", tmp_path)
    assert judged.verdict == "supported"
    assert judged.primary is not None
    assert judged.primary.interval.value == pytest.approx(-0.41)


def test_without_tables_nothing_is_judged_and_the_way_to_them_is_named(tmp_path: Path) -> None:
    for slug in SLUGS:
        judged = judged_as(slug, tmp_path)
        assert judged.verdict == "not run"
        assert "scripts/reproduce.py --experiments mnist_training" in judged.notes[0]


def test_without_a_map_the_report_prints_these_estimates_all_the_same(runs, tmp_path: Path) -> None:
    for seed in range(3):
        finish(runs("none", seed), {"test/accuracy": rising(64, 0.9), "train/loss": rising(8, 1)}, STEPS)
        finish(runs("batch", seed), {"test/accuracy": rising(8, 0.96), "train/loss": rising(8, 1)}, STEPS)
    publish("mnist_training", tmp_path)
    results = Results(tmp_path)
    assert mnist_training.DECLARED.section is not None
    text = mnist_training.DECLARED.section(results)
    assert "[faster_training](#faster-training) | ratio of steps to the plain network's final test accuracy" in text
    assert words(judged_as("higher_accuracy", tmp_path).estimates[0]) in text
    assert "- stable_inputs: its runs recorded no activations" in text
    assert set(mnist_training.DECLARED.figures(results)) == {"mnist_training_accuracy", "mnist_training_loss"}


def test_one_arm_alone_is_not_run_with_the_reason(runs, tmp_path: Path) -> None:
    finish(runs("batch", 0), {"test/accuracy": rising(8, 0.9)}, STEPS)
    publish("mnist_training", tmp_path)
    judged = judged_as("faster_training", tmp_path)
    assert judged.verdict == "not run"
    assert "no seed finished with both none and batch" in judged.notes[0]
