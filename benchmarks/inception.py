"""Images per second of the small Inception: against the usual way to train it, and against its convolutions alone."""

from __future__ import annotations

import copy
import functools
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from benchmarks import subjects
from benchmarks.rows import Bench, Bound, Measured, row
from bnrepro import data
from bnrepro.config.compose import Composer
from bnrepro.measurements.timing import interleave
from bnrepro.training.loop import Trainer

BATCHES = (32, 128)
CLASSES, IMAGES = 10, 200
"""Class folders, and training images in each."""
Take = Callable[[int], None]
"""Takes so many training steps."""


@row("inception-loop", "Inception, our loop / plain NCHW eager, PIL images, DataLoader of 2 workers: images/s")
def inception_loop(bench: Bench) -> Iterator[Measured]:
    yield from _against(bench, _usual, Bound("least", 1.4))


@row("convolutions", "Inception, our loop / its convolutions alone, forward and backward: time")
def convolutions(bench: Bench) -> Iterator[Measured]:
    yield from _against(bench, _convolutions, None)


def _against(bench: Bench, other: Callable[[Trainer, Path], Take], bound: Bound | None) -> Iterator[Measured]:
    """Our loop against ``other`` at every size of the mini-batch, both arms. Without a bound the ratio is one of
    times, ours / theirs, and is only reported."""
    folder = images_in(bench.folder / "images")
    for size in bench.size(BATCHES, (8,)):
        steps, slices = bench.size(max(320 // size, 2), 2), bench.size(6, 2)
        workloads: dict[str, Callable[[], None]] = {}
        for arm in subjects.ARMS:
            with subjects.outputs_in(bench.folder):
                trainer = _trainer(arm, size, folder)
            take = other(trainer, folder)
            workloads[f"ours-{arm}"] = functools.partial(trainer.advance, steps)
            workloads[f"other-{arm}"] = functools.partial(take, steps)
        timings = interleave(workloads, bench.rounds, slices, bench.clock())
        for arm in subjects.ARMS:
            ours, theirs = f"ours-{arm}", f"other-{arm}"
            ratios = timings.ratios(theirs, ours) if bound else timings.ratios(ours, theirs)
            speeds = {name: steps * size / statistics.median(timings.seconds(name)) for name in (ours, theirs)}
            details = {"ours_images_per_second": speeds[ours], "other_images_per_second": speeds[theirs]}
            yield Measured(f"{arm}, {size}", ratios, "×", bound, details=details)


def images_in(folder: Path) -> Path:
    """A folder of JPEG images of 32×32, of soft random patterns so that they decode like photographs."""
    draw = np.random.default_rng(0)
    for split, count in (("train", IMAGES), ("test", 10)):
        for label in range(CLASSES):
            place = folder / split / f"class{label}"
            if place.exists():
                continue
            place.mkdir(parents=True)
            for index in range(count):
                coarse = Image.fromarray(draw.integers(0, 256, (8, 8, 3), np.uint8))
                coarse.resize((32, 32), Image.Resampling.BICUBIC).save(place / f"{index:04}.jpg", quality=75)
    return folder


def _trainer(arm: str, size: int, folder: Path) -> Trainer:
    overrides = [
        "model=inception", f"norm={arm}", "data=image_folder", f"data.root={folder}", "data.validation_examples=100",
        f"batch_size={size}", "optimizer.lr=0.01", "optimizer.momentum=0.9", "augmentation.flip=true",
        "augmentation.shift=4",
    ]  # fmt: skip
    with Composer() as composer:
        [config] = composer.sweep(overrides, single=True)
    trainer = Trainer(config, data.load(config.data))
    trainer.model.train()
    return trainer


# -------------------------------------------------------------------------------------------------- competitors


def _usual(trainer: Trainer, folder: Path) -> Take:
    """The same network with the same weights, as most tutorials train it: its layout is torch's default."""
    from bnrepro.data.torchvision_import import prepare

    prepare()
    from torch.utils.data import DataLoader
    from torchvision import datasets
    from torchvision.transforms import v2

    transform = v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.RandomCrop(32, padding=4),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5] * 3, [0.25] * 3),
        ]
    )
    examples = datasets.ImageFolder(str(folder / "train"), transform)
    size = trainer.config.batch_size
    loader = DataLoader(examples, size, shuffle=True, num_workers=2, drop_last=True, persistent_workers=True)
    network = copy.deepcopy(trainer.model)
    network.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
    optimizer = torch.optim.SGD(network.parameters(), lr=trainer.config.optimizer.lr, momentum=0.9)
    criterion = nn.CrossEntropyLoss()

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from loader

    stream = batches()

    def take(steps: int) -> None:
        for _ in range(steps):
            images, labels = next(stream)
            optimizer.zero_grad()
            loss = criterion(network(images), labels)
            loss.backward()
            optimizer.step()

    return take


def _convolutions(trainer: Trainer, folder: Path) -> Take:
    """Every convolution of the network on inputs of its own shape and layout: its output, the gradient of its weights,
    and, but for the first, that of its input."""
    found: list[tuple[nn.Conv2d, Tensor, Tensor]] = []

    def catch(module: nn.Conv2d, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        found.append((module, inputs[0].detach(), torch.randn_like(output)))

    handles = [
        module.register_forward_hook(catch)  # pyright: ignore[reportArgumentType]
        for module in trainer.model.modules()
        if isinstance(module, nn.Conv2d)
    ]
    with torch.no_grad():
        trainer.model(trainer.train_set.images[: trainer.config.batch_size])
    for handle in handles:
        handle.remove()

    def take(steps: int) -> None:
        with torch.no_grad():
            for _ in range(steps):
                for index, (layer, inputs, gradient) in enumerate(found):
                    stride, padding = list(layer.stride), [layer.padding[0], layer.padding[1]]
                    F.conv2d(inputs, layer.weight, None, layer.stride, layer.padding)
                    torch.ops.aten.convolution_backward(
                        gradient, inputs, layer.weight, None, stride, padding, [1, 1], False, [0, 0], 1,
                        [index > 0, True, False],
                    )  # fmt: skip

    return take
