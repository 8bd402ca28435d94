"""§4.2: what the paper's own runs would take here. It carries no claim; the report has the plan.

Its numbers come from measured rows, except those that the plan calls assumed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import pandas as pd

from bnrepro.claims.claim import Experiment
from bnrepro.claims.inception_training import BASELINE, BN, PAPER, X5, X5_SIGMOID, X30
from bnrepro.claims.step_cost import MISSING_CORE, SPARED
from bnrepro.tables import Results

NAME = "imagenet_plan"
BATCH, SIDE = 32, 224
"""Images in a mini-batch (§4.2), and the pixels on a side of each."""
IMAGENET = 1_281_167
"""Training images of ImageNet's 1,000 classes (Russakovsky et al. 2015, Table 2)."""
TIMED_AS = {BASELINE: BASELINE, BN: BN, X5: X30, X30: X30, X5_SIGMOID: X30}
"""Arm of Fig. 3 → the arm that was timed for it. Arms that share a network differ in rate and activation alone."""
TO_ITS_MAXIMUM = {X30: 6e6}
"""Arm → steps to its maximum accuracy, where §4.2.2 gives a number of its own for them."""
OUR_STEPS, OUR_IMAGES = 11_250, 48_000
"""The full profile of inception_training: steps of one run, and images in its training set."""
COMMAND = (
    "torchrun --nproc-per-node=N scripts/train.py model=bn_inception norm=batch data=image_folder data.root=FOLDER "
    "data.stream=true device=cuda precision=bfloat16 batch_size=32 steps=2700000 optimizer.lr=0.045 "
    "optimizer.momentum=0.9 optimizer.weight_decay=4.0e-5 optimizer.decay=0.015625 augmentation.flip=true "
    "augmentation.photometric=0.1 evaluation.min_interval=1000 evaluation.max_interval=50000"
)
"""BN-x30 at the paper's rate, without ``arm=``: those of ``configs/arm`` set the rate of the small Inception."""


@dataclass(frozen=True)
class Work:
    """One training of ``arm``: its goal, and how many mini-batches of ``BATCH`` it takes."""

    arm: str
    goal: str
    steps: float

    @property
    def images(self) -> float:
        return self.steps * BATCH

    def hours(self, images_per_second: float) -> float:
        return self.images / images_per_second / 3600


def planned() -> list[Work]:
    """The paper's trainings, arm by arm, each followed by one with as many passes over ImageNet as our runs make."""
    ours = OUR_STEPS / OUR_IMAGES * IMAGENET
    passes = f"as many passes as ours, {OUR_STEPS * BATCH / OUR_IMAGES:g}"
    works = []
    for arm in TIMED_AS:
        steps, top = PAPER[arm][1:]
        if steps != "–":
            works.append(Work(arm, "the paper's 72.2%", float(steps) * 1e6))
        if arm in TO_ITS_MAXIMUM:
            works.append(Work(arm, f"the paper's {top}%", TO_ITS_MAXIMUM[arm]))
        works.append(Work(arm, passes, ours))
    return works


def section(results: Results) -> str:
    """What was measured of each network, and the hours that each training of :func:`planned` takes at that speed."""
    found = results.measured(NAME)
    assert found is not None
    frame = found.frame
    assumed = None if (frame["device"] == "cuda").any() else json.loads(found.meta["settings"])["assumed"]
    return "\n".join(
        [
            "## The real run, planned: the paper's network on ImageNet",
            "",
            *_measured(frame),
            "",
            *_hours(frame, assumed),
            "",
            *(f"- {line}" for line in _remarks(frame, assumed)),
            "",
            "BN-x30 at the paper's rate and for its steps; momentum, weight decay, decay and distortions, which the "
            "paper does not give, are ours. FOLDER is laid out as ImageNet. N processes share each mini-batch, and "
            f"each normalises by its {BATCH}/N images; the paper's replicas by {BATCH}, as with batch_size={BATCH} "
            "times N:",
            "",
            f"```\n{COMMAND}\n```",
        ]
    )


def _speeds(frame: pd.DataFrame) -> dict[tuple[str, str, str], float]:
    """(arm, device, precision) → images a second, the median over rounds."""
    groups = frame.groupby(["arm", "device", "precision"], sort=False)["images_per_second"]
    return {(str(arm), str(device), str(precision)): speed.median() for (arm, device, precision), speed in groups}


def _measured(frame: pd.DataFrame) -> list[str]:
    first = frame.iloc[0]
    lines = [
        f"Measured: real training steps of model=bn_inception on random images of {first.side}×{first.side}, in "
        f"mini-batches of {first.batch_size}; the median of {frame['round'].nunique()} rounds and their range.",
        "",
        "| arm | measured on | precision | parameters, 10⁶ | forward, 10⁹ FLOPs an image | forward and backward | "
        "images a second | 10⁹ FLOP/s reached |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (arm, device, precision), rows in frame.groupby(["arm", "device", "precision"], sort=False):
        row, speed = rows.iloc[0], rows["images_per_second"]
        place = f"{row.hardware}, {_threads(row.threads) if device == 'cpu' else device}"
        lines.append(
            f"| {arm} | {place} | {precision} | {row.parameters / 1e6:.2f} | {row.forward_flops / 1e9:.2f} | "
            f"{row.training_flops / 1e9:.2f} | {speed.median():.3g} ({speed.min():.3g} – {speed.max():.3g}) | "
            f"{rows['flops_per_second'].median() / 1e9:,.3g} |"
        )
    return lines


def _hours(frame: pd.DataFrame, assumed: dict | None) -> list[str]:
    speed, flops = _speeds(frame), frame.groupby("arm")["training_flops"].first()
    places = list(dict.fromkeys((device, precision) for _, device, precision in speed))
    columns = [f"hours, {device}, {precision}" for device, precision in places]
    if assumed:
        shares = " or ".join(f"{share:.0%}" for share in assumed["sustained"])
        columns.append(f"GPU hours, *assumed*: {assumed['gpu']} at {shares} of its peak")
    lines = [
        f"| arm | trained to | 10⁶ steps of {BATCH} | 10⁶ images | 10¹⁸ FLOPs | {' | '.join(columns)} |",
        "|---|---|---|---|---|" + "---|" * len(columns),
    ]
    for work in planned():
        timed = TIMED_AS[work.arm]
        if timed not in flops.index:
            continue
        cells = [_amount(work.hours(speed[timed, device, precision])) for device, precision in places]
        if assumed:
            rates = [share * assumed["peak"] / flops[timed] for share in assumed["sustained"]]
            cells.append(" or ".join(_amount(work.hours(rate)) for rate in rates))
        lines.append(
            f"| {work.arm} | {work.goal} | {work.steps / 1e6:.2f} | {work.images / 1e6:,.1f} | "
            f"{work.images * flops[timed] / 1e18:.2f} | {' | '.join(cells)} |"
        )
    return lines


def _remarks(frame: pd.DataFrame, assumed: dict | None) -> list[str]:
    lines = [
        f"Steps are those of Fig. 3 and §4.2.2, in mini-batches of {BATCH}; our runs take {OUR_STEPS:,} such steps on "
        f"{OUR_IMAGES:,} images, and ImageNet has {IMAGENET:,}.",
        "FLOPs are those of convolutions and matrix products, a multiplication and an addition being two: "
        "normalisation adds none of them, only time.",
        "bn_x5 and bn_x5_sigmoid are planned at the speed of bn_x30, whose network is theirs but for the activation.",
        "The hours are those of the steps alone, on one device: reading and decoding the images, and evaluating, come "
        "on top where they cannot be hidden; N devices share a mini-batch in 1/N of the time at best.",
    ]
    if assumed:
        lines.append(
            f"No GPU was measured. The GPU hours are arithmetic on an assumption: a peak of "
            f"{assumed['peak'] / 1e12:,.0f}·10¹² FLOP/s (the maker's data sheet, bfloat16) of which the stated share "
            f"is sustained; the smaller share is the likelier with mini-batches of {BATCH}. On a machine with a GPU "
            f"`python scripts/measure.py measurement={NAME}` measures it instead."
        )
    else:
        lines.append("In float32 the GPU's convolutions round their inputs to TF32, the library's default.")
    if frame["batch_size"].iloc[0] != BATCH or frame["side"].iloc[0] != SIDE:
        lines.append(
            f"A short profile: its images a second are not those of mini-batches of {BATCH} at {SIDE}×{SIDE}, and its "
            "hours are no plan."
        )
    if (core := float(frame["core"].min())) < SPARED:
        lines.append(f"While it was timed {MISSING_CORE.format(core)}.")
    return lines


def _amount(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


DECLARED = Experiment(NAME, 140, section=section, any_normaliser=False)
