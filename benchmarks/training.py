"""Steps per second of our loop: against the usual one, against plain PyTorch in memory, against its arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from benchmarks import subjects
from benchmarks.competitors import Take, against, endless, usual_steps
from benchmarks.rows import Bench, Bound, Measured, Skipped, row
from benchmarks.subjects import BATCH_SIZE
from bnrepro.training.loop import Trainer


@row("usual-loop", "our loop / torchvision data set, PIL, ToTensor, DataLoader, loss.item() every step: steps/s")
def usual_loop(bench: Bench) -> Iterator[Measured]:
    if not subjects.has_mnist():
        raise Skipped("MNIST not found: decoding its images is what the usual loop spends its time on")
    bounds = {"none": Bound("least", 4.5), "batch": Bound("least", 4.0)}
    yield from _against(_usual, bounds, bench, steps=50, slices=10)


@row("eager-loop", "our loop / plain eager PyTorch on the same tensors in memory: steps/s")
def eager_loop(bench: Bench) -> Iterator[Measured]:
    bounds = {"none": Bound("least", 0.97), "batch": Bound("least", 0.97)}
    yield from _against(_eager, bounds, bench, steps=subjects.SLICE_STEPS, slices=20)


@row("matrix-products", "our loop / its matrix products alone, forward and backward: time")
def matrix_products(bench: Bench) -> Iterator[Measured]:
    bounds = {"none": Bound("most", 2.5), "batch": Bound("most", 3.0)}
    yield from _against(_products, bounds, bench, steps=subjects.SLICE_STEPS, slices=20)


def _against(
    other: Callable[[Trainer], Take], bounds: Mapping[str, Bound], bench: Bench, *, steps: int, slices: int
) -> Iterator[Measured]:
    """Our loop against the competitor that ``other`` makes from our trainer, for every arm in ``bounds``."""
    trainers = {arm: subjects.trainer(arm, bench.quick) for arm in bounds}
    pairs = {arm: (trainer, other(trainer)) for arm, trainer in trainers.items()}
    steps, slices = bench.size(steps, 5), bench.size(slices, 2)
    yield from against(pairs, bounds, bench, steps=steps, slices=slices, note=subjects.data_note())


# -------------------------------------------------------------------------------------------------- competitors


def _usual(trainer: Trainer) -> Take:
    """As in most tutorials, with binary images as in §4.1."""
    from bnrepro.data.torchvision_import import prepare

    prepare()
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    binary = transforms.Compose([transforms.ToTensor(), transforms.Lambda(lambda image: (image >= 0.5).float())])
    examples = datasets.MNIST(str(subjects.mnist_root()), train=True, transform=binary)
    loader = DataLoader(examples, batch_size=BATCH_SIZE, shuffle=True, num_workers=0)
    network = subjects.plain_network(trainer, nn.Flatten())
    optimizer = torch.optim.SGD(network.parameters(), lr=trainer.config.optimizer.lr)
    return usual_steps(network, optimizer, endless(loader), read_loss=True)


def _eager(trainer: Trainer) -> Take:
    """As one writes it by hand for speed: torch's defaults, data in memory, no evaluation and no record."""
    images, labels = trainer.train_set.images.flatten(1), trainer.train_set.labels
    network = subjects.plain_network(trainer)
    optimizer = torch.optim.SGD(network.parameters(), lr=trainer.config.optimizer.lr)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            permutation = torch.randperm(len(labels))
            for start in range(0, len(labels) - BATCH_SIZE + 1, BATCH_SIZE):
                chosen = permutation[start : start + BATCH_SIZE]
                yield images[chosen], labels[chosen]

    return usual_steps(network, optimizer, batches())


def _products(trainer: Trainer) -> Take:
    """y = x Wᵀ, dW = dyᵀ x and, except in the first layer, dx = dy W, into allocated memory, and nothing else."""
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
