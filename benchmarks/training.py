"""Steps per second of our loop: against the usual one, against plain PyTorch in memory, against its arithmetic."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks import subjects
from benchmarks.rows import Bench, Bound, Measured, Skipped, row
from benchmarks.subjects import BATCH_SIZE
from bnrepro import data
from bnrepro.measurements.timing import interleave
from bnrepro.training.loop import Trainer

Other = Callable[[Trainer], Callable[[int], None]]
"""Makes, from our trainer, the competitor: a function that takes a number of steps."""


@row("usual-loop", "our loop / torchvision data set, PIL, ToTensor, DataLoader, loss.item() every step: steps/s")
def usual_loop(bench: Bench) -> Iterator[Measured]:
    if not subjects.has_mnist():
        raise Skipped("MNIST not found: decoding its images is what the usual loop spends its time on")
    bounds = {"none": Bound("least", 4.5), "batch": Bound("least", 4.0)}
    yield from against(_usual, bounds, bench, steps=50, slices=10)


@row("eager-loop", "our loop / plain eager PyTorch on the same tensors in memory: steps/s")
def eager_loop(bench: Bench) -> Iterator[Measured]:
    bounds = {"none": Bound("least", 0.97), "batch": Bound("least", 0.97)}
    yield from against(_eager, bounds, bench, steps=subjects.SLICE_STEPS, slices=20)


@row("matrix-products", "our loop / its matrix products alone, forward and backward: time")
def matrix_products(bench: Bench) -> Iterator[Measured]:
    bounds = {"none": Bound("most", 2.5), "batch": Bound("most", 3.0)}
    yield from against(_products, bounds, bench, steps=subjects.SLICE_STEPS, slices=20)


def against(other: Other, bounds: Mapping[str, Bound], bench: Bench, *, steps: int, slices: int) -> Iterator[Measured]:
    """Our loop against ``other``, all arms in turn, ``steps`` updates a slice. A bound from below is one on the ratio
    of speeds, ours / theirs; a bound from above one on the ratio of times."""
    steps, slices = bench.size(steps, 5), bench.size(slices, 2)
    workloads: dict[str, Callable[[], None]] = {}
    for arm in bounds:
        trainer = subjects.trainer(arm, bench.quick)
        take = other(trainer)
        workloads[f"ours-{arm}"] = subjects.steps_of(trainer, steps)
        workloads[f"other-{arm}"] = lambda take=take: take(steps)
    timings = interleave(workloads, bench.rounds, slices, bench.clock())
    for arm, bound in bounds.items():
        ours, theirs = f"ours-{arm}", f"other-{arm}"
        ratios = timings.ratios(theirs, ours) if bound.kind == "least" else timings.ratios(ours, theirs)
        speeds = {name: steps / statistics.median(timings.seconds(name)) for name in (ours, theirs)}
        yield Measured(
            arm, ratios, "×", bound, note=subjects.data_note(),
            details={"ours_steps_per_second": speeds[ours], "other_steps_per_second": speeds[theirs]},
        )  # fmt: skip


# -------------------------------------------------------------------------------------------------- competitors


def _usual(trainer: Trainer) -> Callable[[int], None]:
    """As most tutorials have it; binary images as in §4.1."""
    from bnrepro.data.torchvision_import import prepare

    prepare()
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    binary = transforms.Compose([transforms.ToTensor(), transforms.Lambda(lambda image: (image >= 0.5).float())])
    examples = datasets.MNIST(str(data.find_mnist()), train=True, transform=binary)
    loader = DataLoader(examples, batch_size=BATCH_SIZE, shuffle=True, num_workers=0)
    network = subjects.plain_network(trainer, nn.Flatten())
    optimizer = torch.optim.SGD(network.parameters(), lr=trainer.config.optimizer.lr)
    criterion = nn.CrossEntropyLoss()
    seen = []

    def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        while True:
            yield from loader

    stream = batches()

    def take(steps: int) -> None:
        seen.clear()
        for _ in range(steps):
            images, labels = next(stream)
            optimizer.zero_grad()
            loss = criterion(network(images), labels)
            loss.backward()
            optimizer.step()
            seen.append(loss.item())

    return take


def _eager(trainer: Trainer) -> Callable[[int], None]:
    """As one would write it by hand for speed, with torch's defaults and without anything that is looked at."""
    images, labels = trainer.train_set.images.flatten(1), trainer.train_set.labels
    network = subjects.plain_network(trainer)
    optimizer = torch.optim.SGD(network.parameters(), lr=trainer.config.optimizer.lr)

    def indices() -> Iterator[torch.Tensor]:
        while True:
            permutation = torch.randperm(len(labels))
            for start in range(0, len(labels) - BATCH_SIZE + 1, BATCH_SIZE):
                yield permutation[start : start + BATCH_SIZE]

    stream = indices()

    def take(steps: int) -> None:
        for _ in range(steps):
            chosen = next(stream)
            optimizer.zero_grad()
            loss = F.cross_entropy(network(images[chosen]), labels[chosen])
            loss.backward()
            optimizer.step()

    return take


def _products(trainer: Trainer) -> Callable[[int], None]:
    """y = x Wᵀ, dW = dyᵀ x and, but for the first layer, dx = dy W: into memory that is there, nothing else."""
    weights = [layer.weight.detach().clone() for layer in trainer.model.modules() if isinstance(layer, nn.Linear)]
    forward, backward = [], []
    for index, weight in enumerate(weights):
        outputs, inputs = weight.shape
        x, dy = torch.rand(BATCH_SIZE, inputs), torch.rand(BATCH_SIZE, outputs)
        forward.append((x, weight.t(), torch.empty(BATCH_SIZE, outputs)))
        if index:
            backward.append((dy, weight, torch.empty(BATCH_SIZE, inputs)))
        backward.append((dy.t(), x, torch.empty(outputs, inputs)))
    products = [*forward, *reversed(backward)]

    def take(steps: int) -> None:
        with torch.inference_mode():
            for _ in range(steps):
                for left, right, result in products:
                    torch.mm(left, right, out=result)

    return take
