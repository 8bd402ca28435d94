"""§4.2: what the paper's own runs would cost here. It carries no claim; the report shows the plan.

Its numbers come from the measured table, except those that the plan calls assumed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import pandas as pd

from bnrepro.claims.claim import Experiment, measurement_of
from bnrepro.claims.inception_training import BASELINE, BN, PAPER, X5, X5_SIGMOID, X30
from bnrepro.claims.markdown import table
from bnrepro.claims.step_cost import MISSING_CORE, SPARED
from bnrepro.tables import Results

NAME = "imagenet_plan"
BATCH, SIDE = 32, 224
"""Images in a mini-batch (§4.2), and the pixels on a side of each."""
IMAGENET = 1_281_167
"""Training images of ImageNet's 1,000 classes (Russakovsky et al. 2015, Table 2)."""
TIMED_AS = {BASELINE: BASELINE, BN: BN, X5: X30, X30: X30, X5_SIGMOID: X30}
"""Arm of Fig. 3 → the arm timed for it. Arms that share a network differ only in rate and activation."""
TO_ITS_MAXIMUM = {X30: 6e6}
"""Arm → steps to its maximum accuracy, where §4.2.2 gives them."""
OUR_STEPS, OUR_IMAGES = 11_250, 48_000
"""The full profile of inception_training: steps of one run, and images in its training set."""
COMMAND = (
    "torchrun --nproc-per-node=N scripts/train.py model=bn_inception norm=batch data=image_folder data.root=FOLDER "
    "data.stream=true device=cuda precision=bfloat16 batch_size=32 steps=2700000 optimizer.lr=0.045 "
    "optimizer.momentum=0.9 optimizer.weight_decay=4.0e-5 optimizer.decay=0.015625 augmentation.flip=true "
    "augmentation.photometric=0.1 evaluation.min_interval=1000 evaluation.max_interval=50000"
)
"""BN-x30 at the paper's rate, without ``arm=``: an arm would set the rate of the small Inception."""


@dataclass(frozen=True)
class Work:
    """One training of ``arm``: its goal, and its steps in mini-batches of ``BATCH``."""

    arm: str
    goal: str
    steps: float

    @property
    def images(self) -> float:
        return self.steps * BATCH

    def hours(self, images_per_second: float) -> float:
        return self.images / images_per_second / 3600


def planned() -> list[Work]:
    """Arm by arm: the paper's trainings, then one with as many passes over ImageNet as our runs make."""
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
    """The measured speed of each network, and the hours that each of the :func:`planned` trainings takes at it."""
    found = measurement_of(results, NAME)
    frame = found.frame
    assumed = None if (frame["device"] == "cuda").any() else json.loads(found.meta["settings"])["assumed"]
    first = frame.iloc[0]
    return "\n\n".join(
        [
            "## The real run, planned: the paper's network on ImageNet",
            f"Measured on real training steps of model=bn_inception, with random images of {first.side}×{first.side} "
            f"in mini-batches of {first.batch_size}: median and range of {frame['round'].nunique()} rounds.",
            _measured(frame),
            _hours(frame, assumed),
            "\n".join(f"- {line}" for line in _remarks(frame, assumed)),
            "BN-x30 at the paper's rate, for as many steps; momentum, weight decay, rate decay and distortions are "
            "ours, since the paper does not give them. FOLDER is laid out like ImageNet. N processes share each "
            f"mini-batch, and each normalises by its own {BATCH}/N images. The paper's replicas normalise by {BATCH} "
            f"each, as with batch_size={BATCH}·N:",
            f"```\n{COMMAND}\n```",
        ]
    )


def _speeds(frame: pd.DataFrame) -> dict[tuple[str, str, str], float]:
    """(arm, device, precision) → images per second, the median over rounds."""
    groups = frame.groupby(["arm", "device", "precision"], sort=False)["images_per_second"]
    return {(str(arm), str(device), str(precision)): speed.median() for (arm, device, precision), speed in groups}


def _measured(frame: pd.DataFrame) -> str:
    header = [
        "arm", "measured on", "precision", "parameters, 10⁶", "forward, 10⁹ FLOPs per image", "forward and backward",
        "images per second", "10⁹ FLOP/s reached",
    ]  # fmt: skip
    rows = []
    for (arm, device, precision), group in frame.groupby(["arm", "device", "precision"], sort=False):
        first, speed, reached = group.iloc[0], group["images_per_second"], group["flops_per_second"].median()
        place = device if device != "cpu" else "1 thread" if first.threads == 1 else f"{first.threads} threads"
        numbers = [f"{count:.2f}" for count in (first.forward_flops / 1e9, first.training_flops / 1e9)]
        speeds = f"{speed.median():.3g} ({speed.min():.3g} – {speed.max():.3g})"
        size = f"{first.parameters / 1e6:.2f}"
        rows.append([arm, f"{first.hardware}, {place}", precision, size, *numbers, speeds, f"{reached / 1e9:,.3g}"])
    return table(header, rows)


def _hours(frame: pd.DataFrame, assumed: dict | None) -> str:
    speed, flops = _speeds(frame), frame.groupby("arm")["training_flops"].first()
    places = list(dict.fromkeys((device, precision) for _, device, precision in speed))
    columns = [f"hours, {device}, {precision}" for device, precision in places]
    if assumed:
        shares = " or ".join(f"{share:.0%}" for share in assumed["sustained"])
        columns.append(f"GPU hours, *assumed*: {assumed['gpu']} at {shares} of its peak")
    rows = []
    for work in planned():
        timed = TIMED_AS[work.arm]
        if timed not in flops.index:
            continue
        cells = [_amount(work.hours(speed[timed, device, precision])) for device, precision in places]
        if assumed:
            rates = [share * assumed["peak"] / flops[timed] for share in assumed["sustained"]]
            cells.append(" or ".join(_amount(work.hours(rate)) for rate in rates))
        sizes = [f"{work.steps / 1e6:.2f}", f"{work.images / 1e6:,.1f}", f"{work.images * flops[timed] / 1e18:.2f}"]
        rows.append([work.arm, work.goal, *sizes, *cells])
    return table(["arm", "trained to", f"10⁶ steps of {BATCH}", "10⁶ images", "10¹⁸ FLOPs", *columns], rows)


def _remarks(frame: pd.DataFrame, assumed: dict | None) -> list[str]:
    lines = [
        f"Steps are those of Fig. 3 and §4.2.2, in mini-batches of {BATCH}; our runs take {OUR_STEPS:,} such steps on "
        f"{OUR_IMAGES:,} images, and ImageNet has {IMAGENET:,}.",
        "FLOPs count convolutions and matrix products, a multiplication and an addition as two. Normalisation adds "
        "none of these, only time.",
        "bn_x5 and bn_x5_sigmoid are planned at the speed of bn_x30, whose network differs at most in the activation.",
        "The hours are those of the training steps alone, on one device. Reading and decoding images, and evaluating, "
        "add to them unless they overlap with the steps; N devices take 1/N of the time at best.",
    ]
    if assumed:
        lines.append(
            f"No GPU was measured. The GPU hours assume that the stated share of a peak of "
            f"{assumed['peak'] / 1e12:,.0f}·10¹² FLOP/s (the maker's data sheet, bfloat16) is sustained; with "
            f"mini-batches of {BATCH} the smaller share is likelier. On a machine with a GPU, "
            f"`python scripts/measure.py measurement={NAME}` measures it instead."
        )
    else:
        lines.append("In float32 the GPU's convolutions round their inputs to TF32, the library's default.")
    if frame["batch_size"].iloc[0] != BATCH or frame["side"].iloc[0] != SIDE:
        lines.append(
            f"A short profile: its images per second are not those of mini-batches of {BATCH} at {SIDE}×{SIDE}, so its "
            "hours are no plan."
        )
    if (core := float(frame["core"].min())) < SPARED:
        lines.append(f"While it was timed {MISSING_CORE.format(core)}.")
    return lines


def _amount(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"


DECLARED = Experiment(NAME, 140, section=section, any_normaliser=False)
