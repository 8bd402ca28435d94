"""The plan of the real run: FLOPs against a count by hand, hours against arithmetic, and what the report says."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from bnrepro import tables
from bnrepro.claims import imagenet_plan as claims
from bnrepro.claims import inception_training
from bnrepro.config.compose import Composer
from bnrepro.config.schema import Config
from bnrepro.measurements import base, imagenet_plan
from bnrepro.report import judge, markdown
from bnrepro.tables import Results

TITLE = "## The real run, planned: the paper's network on ImageNet"
ASSUMED = {"gpu": "a fast one", "peak": 2.0e12, "sustained": [0.5]}


# -------------------------------------------------------------------------------------------------- what is measured


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_flops_are_those_counted_by_hand(device: str) -> None:
    with torch.device(device):
        network = nn.Sequential(
            nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2, bias=False),  # 5×5 positions, 8 channels, each of 2·3·3
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 6, 3, padding=1, groups=2),  # 5×5 positions, 6 channels, each of 4·3·3
            nn.Flatten(),
            nn.Linear(150, 10),
        )
    first, second, last = 2 * 25 * 8 * 18, 2 * 25 * 6 * 36, 2 * 150 * 10
    # Backward each layer takes as much for its weight and for its input; the first one's input needs no gradient.
    assert imagenet_plan.flops(network, (4, 10, 10)) == (
        first + second + last,
        2 * first + 3 * second + 3 * last,
    )


def test_flops_of_the_network_are_twice_its_multiply_adds(
    composed: Callable[..., list[Config]],
) -> None:
    [config] = composed("model=bn_inception", "data=digits", "norm=batch", "arm=bn_x30")
    parameters, forward, training = imagenet_plan.cost(config, (3, 224, 224), 1000)
    assert parameters == 11_188_288
    # 1.93·10⁹ multiply-adds. The first convolution, separable, hands no gradient on from its part by channels.
    by_channels = 2 * 112**2 * 24 * 49
    assert forward == pytest.approx(2 * 1.93e9, rel=5e-3)
    assert training == 3 * forward - by_channels


def test_every_arm_is_timed_in_every_round_wherever_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenet_plan, "places", lambda: [("cpu", "float32"), ("cpu", "bfloat16")])
    frame = imagenet_plan.measure(["inception", "bn_x30"], 7, 32, 2, 2, {"cpu": 1}, ASSUMED)
    assert tuple(frame) == imagenet_plan.COLUMNS
    assert frame.groupby(["arm", "precision"])["round"].apply(list).tolist() == [[0, 1]] * 4
    assert frame["images_per_second"].to_numpy() == pytest.approx((2 / frame["seconds"]).to_numpy())
    reached = frame["images_per_second"] * frame["training_flops"]
    assert frame["flops_per_second"].to_numpy() == pytest.approx(reached.to_numpy())
    sizes = frame.groupby("arm")["parameters"].first()
    assert sizes["bn_x30"] > sizes["inception"]  # γ and β, for the bias of each convolution


def test_a_table_made_without_a_gpu_is_another_than_one_made_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with Composer() as composer:
        without = base.plan(composer, "imagenet_plan")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        assert imagenet_plan.places() == [("cpu", "float32"), ("cuda", "float32"), ("cuda", "bfloat16")]
        assert base.plan(composer, "imagenet_plan").key != without.key


# ------------------------------------------------------------------------------------------------------ what follows


def test_hours_are_images_over_images_a_second() -> None:
    assert claims.Work("bn_x5", "", steps=9_000).hours(images_per_second=10) == 8.0  # 288,000 images
    works = {(work.arm, work.goal): work for work in claims.planned()}
    assert works["inception", "the paper's 72.2%"].images == 992e6
    assert works["bn_x30", "the paper's 74.8%"].steps == 6e6
    assert not any(goal.startswith("the paper's") for arm, goal in works if arm == "bn_x5_sigmoid")
    ours = [work for (_, goal), work in works.items() if "passes" in goal]
    assert {work.arm for work in ours} == set(claims.TIMED_AS)
    assert {work.images for work in ours} == {7.5 * 1_281_167}


def test_our_passes_are_those_of_the_full_profile(composed: Callable[..., list[Config]]) -> None:
    for config in composed("experiment=inception_training", "profile=full", "seed=0"):
        assert (config.steps, config.batch_size) == (claims.OUR_STEPS, claims.BATCH)
        assert 50_000 - config.data.validation_examples == claims.OUR_IMAGES
    assert set(claims.TIMED_AS) <= set(inception_training.PAPER)


def test_an_arm_is_planned_at_the_speed_of_its_own_network(composed: Callable[..., list[Config]]) -> None:
    def step(arm: str) -> Config:
        [config] = composed("model=bn_inception", "data=digits", f"arm={arm}")
        plain = replace(config, arm=None, optimizer=replace(config.optimizer, lr=1.0))
        return replace(plain, model=replace(config.model, activation="relu"))

    for arm, timed in claims.TIMED_AS.items():
        assert step(arm) == step(timed)
    assert step("bn_baseline") != step("bn_x30")
    with Composer() as composer:
        timed = base.plan(composer, "imagenet_plan").settings["arms"]
    assert set(timed) == set(claims.TIMED_AS.values())


def test_the_command_trains_bn_x30_at_the_paper_s_rate(composed: Callable[..., list[Config]]) -> None:
    launcher, processes, script, *overrides = shlex.split(claims.COMMAND)
    assert (launcher, processes, script) == ("torchrun", "--nproc-per-node=N", "scripts/train.py")
    [config] = composed(*overrides)
    [arm] = composed("model=bn_inception", "data=digits", "arm=bn_x30")
    rate, steps, _ = inception_training.PAPER["bn_x30"]
    assert config.optimizer == replace(arm.optimizer, lr=float(rate))
    assert (config.model, config.norm, config.placement) == (arm.model, arm.norm, arm.placement)
    assert config.augmentation.photometric == arm.augmentation.photometric
    assert (config.steps, config.batch_size) == (float(steps) * 1e6, claims.BATCH)
    assert config.data.stream


# --------------------------------------------------------------------------------------------------- what is printed


def table(side: int = 224, batch: int = 32, core: float = 1.0, cuda: bool = False) -> pd.DataFrame:
    """Ten images a second without BN and twenty with it; a GPU does a hundred times as many. 10⁹ FLOPs an image."""
    rows = [
        (
            arm, device, f"my {device}", 1, precision, side, batch, 11_000_000, 4 * 10**8, 10**9, turn, batch / speed,
            speed, speed * 1e9, core,
        )
        for device, precision, factor in (("cpu", "float32", 1), ("cuda", "bfloat16", 100))
        if device == "cpu" or cuda
        for arm, usual in (("inception", 10), ("bn_baseline", 20), ("bn_x30", 20))
        for turn, speed in enumerate((usual * factor * 0.5, usual * factor, usual * factor * 4))
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(imagenet_plan.COLUMNS))


@cache
def planned() -> base.Measurement:
    with Composer() as composer:
        return base.plan(composer, "imagenet_plan")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """``made(core=0.5)``: a results folder that holds the measurement alone, brought there as any other is."""

    def make(**changes: object) -> Path:
        monkeypatch.setattr(imagenet_plan, "measure", lambda **settings: table(**changes))  # type: ignore[arg-type]
        item = replace(planned(), key=json.dumps(changes, sort_keys=True)[:8])
        item = replace(item, settings=item.settings | {"assumed": ASSUMED})
        item.folder.path.mkdir(parents=True, exist_ok=True)
        base.execute(item)
        tables.write_measurement(item.folder, tmp_path / item.key)
        return tmp_path / item.key

    return make


def test_the_section_plans_every_arm_from_the_medians(made: Callable[..., Path]) -> None:
    text = claims.section(Results(made()))
    assert "| inception | my cpu, 1 thread | float32 | 11.00 | 0.40 | 1.00 | 10 (5 – 40) | 10 |" in text
    # 992·10⁶ images at 10 a second; 10⁹ FLOPs each at half of 2·10¹² FLOP/s.
    assert "| inception | the paper's 72.2% | 31.00 | 992.0 | 0.99 | 27,556 | 276 |" in text
    assert "| bn_x5 | the paper's 72.2% | 2.10 | 67.2 | 0.07 | 933 | 19 |" in text
    assert "| bn_x5_sigmoid | as many passes as ours, 7.5 | 0.30 | 9.6 | 0.01 | 133 | 2.7 |" in text
    assert "GPU hours, *assumed*: a fast one at 50% of its peak" in text
    assert "No GPU was measured." in text
    assert text.count("\n| bn_x30 | ") == 1 + 3
    assert claims.COMMAND in text
    assert "short profile" not in text
    assert "had a core" not in text


def test_a_measured_gpu_takes_the_place_of_the_assumption(made: Callable[..., Path]) -> None:
    text = claims.section(Results(made(cuda=True)))
    assert "| hours, cpu, float32 | hours, cuda, bfloat16 |\n" in text
    assert "| inception | the paper's 72.2% | 31.00 | 992.0 | 0.99 | 27,556 | 276 |" in text
    assert "assumed" not in text
    assert "No GPU" not in text


def test_what_spoils_the_plan_is_said(made: Callable[..., Path]) -> None:
    assert "A short profile" in claims.section(Results(made(batch=4)))
    assert "A short profile" in claims.section(Results(made(side=32)))
    assert "the process had a core for only 50% of the time" in claims.section(Results(made(core=0.5)))


def test_the_report_prints_the_section_of_a_table_that_is_there(made: Callable[..., Path], tmp_path: Path) -> None:
    assert markdown.as_markdown(judge.judge(Results(made()))).count(TITLE) == 1
    assert TITLE not in markdown.as_markdown(judge.judge(Results(tmp_path / "nothing")))
