"""§4.2: the cost of a training step of the paper's own network: its FLOPs, and its time on the available hardware."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bnrepro.config.schema import Config
from bnrepro.data import Dataset, Split
from bnrepro.measurements.networks import configuration
from bnrepro.measurements.timing import interleave
from bnrepro.models import build_model
from bnrepro.runs import provenance
from bnrepro.training.loop import Trainer

COLUMNS = (
    "arm", "device", "hardware", "threads", "precision", "side", "batch_size", "parameters", "forward_flops",
    "training_flops", "round", "seconds", "images_per_second", "flops_per_second", "core",
)  # fmt: skip


def places() -> list[tuple[str, str]]:
    """(device, precision) of everything that can be timed here: a machine without a GPU has no GPU rows."""
    return [("cpu", "float32"), *([("cuda", "float32"), ("cuda", "bfloat16")] if torch.cuda.is_available() else [])]


def configurations(arms: Sequence[str], batch_size: int, device: str, precision: str) -> dict[str, Config]:
    """By arm, the run whose steps are timed. Its data set is a placeholder: the images are random."""
    common = ("model=bn_inception", "data=digits", f"batch_size={batch_size}", f"device={device}")
    return {arm: configuration(f"arm={arm}", *common, f"precision={precision}") for arm in arms}


def own_training(arms: Sequence[str], batch_size: int, **settings: Any) -> list[Config]:
    """The runs whose steps are timed.

    There are more of them with a GPU, so a table made without one is made again.
    """
    return [each for place in places() for each in configurations(arms, batch_size, *place).values()]


def measure(
    arms: Sequence[str],
    classes: int,
    side: int,
    batch_size: int,
    rounds: int,
    steps: Mapping[str, int],
    assumed: Mapping[str, Any],
) -> pd.DataFrame:
    """Training steps of model=bn_inception as each of ``arms`` sets it up, on random images of ``side`` × ``side``.

    A row for each arm, place of :func:`places` and round. ``parameters``; ``forward_flops`` and ``training_flops``, the
    FLOPs of one image (see :func:`flops`); ``seconds`` of a step of ``batch_size`` images in this repository's own
    loop, a mean over the ``steps`` of the device, which are timed together; the resulting images and FLOPs per second;
    ``core``, the share of the time in which this process had a core. ``assumed`` affects no number: the record keeps it
    for the report, which plans with it.
    """
    threads, images = torch.get_num_threads(), random_images(batch_size, side, classes)
    costs = {
        arm: cost(config, (3, side, side), classes)
        for arm, config in configurations(arms, batch_size, "cpu", "float32").items()
    }
    rows = []
    for device, precision in places():
        trainers = {
            arm: Trainer(replace(config, threads=threads), images)
            for arm, config in configurations(arms, batch_size, device, precision).items()
        }
        count = steps[device]
        timings = interleave({arm: partial(each.advance, count) for arm, each in trainers.items()}, rounds, slices=1)
        core = timings.cpu_seconds / timings.wall_seconds
        hardware = provenance.machine(device)["hardware"]
        for arm, (parameters, forward, training) in costs.items():
            for turn, seconds in enumerate(timings.seconds(arm)):
                speed = batch_size * count / seconds
                where = (arm, device, hardware, threads, precision, side, batch_size)
                what = (parameters, forward, training, turn, seconds / count, speed, speed * training, core)
                rows.append((*where, *what))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def random_images(count: int, side: int, classes: int) -> Dataset:
    """``count`` colour images of noise for training, and two each for validation and test.

    A step takes the same time for any images.
    """
    draw = torch.Generator().manual_seed(0)

    def split(many: int) -> Split:
        labels = torch.randint(0, classes, (many,), generator=draw)
        return Split(torch.randn(many, 3, side, side, generator=draw), labels)

    return Dataset("random images", split(count), split(2), split(2), classes, "random")


def cost(config: Config, shape: tuple[int, int, int], classes: int) -> tuple[int, int, int]:
    """Parameters of the network of ``config``, and :func:`flops` of one image of ``shape``."""
    with torch.device("meta"):  # shapes only: nothing is drawn or computed
        model = build_model(config, shape, classes)
    return sum(parameter.numel() for parameter in model.parameters()), *flops(model, shape)


def flops(model: nn.Module, shape: tuple[int, ...]) -> tuple[int, int]:
    """FLOPs of one image of ``shape``: forward, and forward and backward; a multiply-add counts as two.

    Only convolutions and matrix products count: the counter takes everything else, such as normalisation, for free. The
    first layer passes no gradient on. ``model`` may be on the meta device.
    """
    # Two images, since Batch Normalization may get a single value per channel from one.
    images = torch.empty(2, *shape, device=next(model.parameters()).device)
    counter = FlopCounterMode(
        display=False, custom_mapping={torch.ops.aten.convolution_backward: _convolution_backward}
    )
    with counter:
        scores = model.train()(images)
        forward = counter.get_total_flops()
        scores.sum().backward()
    return forward // 2, counter.get_total_flops() // 2


def _convolution_backward(
    gradient: Sequence[int], inputs: Sequence[int], weight: Sequence[int], *others: Any, **named: Any
) -> int:
    """The FLOPs of a convolution's backward pass.

    Each of the two gradients, of weight and input, costs as much as the forward pass. PyTorch's own formula overcounts
    the weight gradient of a grouped convolution by the number of groups.
    """
    # … stride, padding, dilation, transposed, output padding, groups, and which gradients are wanted.
    asked = others[-1]
    return 2 * math.prod(gradient) * math.prod(weight[1:]) * sum(map(bool, asked[:2]))
