"""Images per second of the small Inception: against the usual way to train it, and against its convolutions alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from benchmarks import subjects
from benchmarks.competitors import Take, against, endless, usual_steps
from benchmarks.rows import Bench, Bound, Measured, row
from bnrepro import data
from bnrepro.config.compose import Composer
from bnrepro.training.loop import Trainer

BATCHES = (32, 128)
CLASSES, IMAGES = 10, 200
"""Class folders, and training images in each."""


@row("inception-loop", "Inception, our loop / plain NCHW eager, PIL images, DataLoader of 2 workers: images/s")
def inception_loop(bench: Bench) -> Iterator[Measured]:
    yield from _against(bench, _usual, Bound("least", 1.4))


@row("convolutions", "Inception, our loop / its convolutions alone, forward and backward: time")
def convolutions(bench: Bench) -> Iterator[Measured]:
    yield from _against(bench, _convolutions, None)


def _against(bench: Bench, other: Callable[[Trainer, Path], Take], bound: Bound | None) -> Iterator[Measured]:
    """Our loop against the competitor that ``other`` makes from our trainer, at every batch size, both arms."""
    folder = images_in(bench.folder / "images")
    for size in bench.size(BATCHES, (8,)):
        with subjects.outputs_in(bench.folder):
            trainers = {f"{arm}, {size}": _trainer(arm, size, folder) for arm in subjects.ARMS}
        pairs = {arm: (trainer, other(trainer, folder)) for arm, trainer in trainers.items()}
        steps, slices = bench.size(max(320 // size, 2), 2), bench.size(6, 2)
        bounds = dict.fromkeys(pairs, bound)
        yield from against(pairs, bounds, bench, steps=steps, slices=slices, unit=("images", size))


def images_in(folder: Path) -> Path:
    """Fill a folder with JPEG images of 32×32, of soft random patterns that decode like photographs."""
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
    """The same network with the same weights, as in most tutorials, in torch's default memory layout."""
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
    return usual_steps(network, optimizer, endless(loader))


def _convolutions(trainer: Trainer, folder: Path) -> Take:
    """Every convolution of the network, forward and backward, on inputs of its own shape and layout.

    The first one's input gets no gradient, as in training.
    """
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
