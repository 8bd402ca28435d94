"""Readers: a trained network meets shifted images, with its statistics frozen, estimated anew, or beside a new output.

The shift acts on what the network gets. For MNIST these are binary images, so that a shifted image has grey values:
were it made binary after the shift, less contrast would change nothing, and blur would only thicken the strokes.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnrepro.config.identity import arm_label
from bnrepro.data import Dataset, ExampleOrder, Split
from bnrepro.data.torchvision_import import prepare
from bnrepro.errors import ConfigError
from bnrepro.measurements.base import Trained
from bnrepro.measurements.networks import normalising_by_batch, scores
from bnrepro.norm import freeze, layers_with_running_statistics, population_statistics

NEEDS = "mnist_training"
UNSHIFTED = ("none", 0.0)
FROZEN, REESTIMATED = "frozen", "re-estimated"
OUTPUT_FROZEN, OUTPUT_NOT_FROZEN = "last layer, BN frozen", "last layer, BN not frozen"
AS_TRAINED, OUTPUT = "as trained", "last layer"
COLUMNS = ["arm", "seed", "shift", "strength", "way", "rate", "examples", "accuracy", "gained", "lost", "example"]
BLURRED_AT_A_TIME = 5000


def measure(
    steps: int,
    rates: Sequence[float],
    shifts: Mapping[str, Sequence[float]],
    trained: Sequence[Trained],
) -> pd.DataFrame:
    """Test accuracy of every trained network under every shift, the unshifted images first, in every way to meet it.

    Columns: ``arm``, ``seed``; ``shift`` and its ``strength``, see :func:`shifted`; ``way``; ``rate``, the learning
    rate that did best on the shifted validation images, where the way has one; ``examples`` of the test set, the
    ``accuracy`` on them, and the shares of them that the way has ``gained`` and ``lost`` against the first way;
    ``example``, once a shift: the first test image as the network gets it, see :func:`letters`.

    Ways of a network with running statistics:

    - ``frozen``: as it was trained, with its moving averages.
    - ``re-estimated``: Algorithm 2 over the shifted training images; no label is used.
    - ``last layer, BN frozen``: the output layer alone is trained further on labelled shifted images.
    - ``last layer, BN not frozen``: the same while BN normalises by the mini-batch and its moving averages follow.
      γ and β stay as they are: in both ways the output layer is all that the gradient changes.

    A network without is seen ``as trained``, and with its ``last layer`` trained further.
    Raises :class:`ConfigError` for shifts, rates or steps that make no sense, or images that are not in [0, 1].
    """
    if steps < 1 or not rates or not all(rate > 0 for rate in rates):
        raise ConfigError(f"steps={steps}, rates={list(rates)}: at least one step and one rate, all above 0")
    kinds = [UNSHIFTED, *((kind, float(strength)) for kind, strengths in shifts.items() for strength in strengths)]
    if len(kinds) == 1:
        raise ConfigError(f"shifts={dict(shifts)}: at least one kind with a strength")
    rows = []
    for dataset in {id(each.dataset): each.dataset for each in trained}.values():
        if dataset.test.images.min() < 0 or dataset.test.images.max() > 1:
            raise ConfigError(f"{dataset.label}: shifts are for images in [0, 1]: data.standardize=false")
        for kind, strength in kinds:
            seen = shifted(dataset, kind, strength)
            example = letters(seen.test.images[0])
            for each in trained:
                if each.dataset is not dataset:
                    continue
                before = None
                for way, rate, network in ways(each, seen, steps, rates):
                    right = correct(network, seen.test)
                    before = right if before is None else before
                    shares = (part.double().mean().item() for part in (right, right & ~before, before & ~right))
                    named = (arm_label(each.planned.config), each.planned.config.seed, kind, strength, way, rate)
                    rows.append((*named, len(right), *shares, example))
                    example = ""
    return pd.DataFrame(rows, columns=COLUMNS)


# ---------------------------------------------------------------------------------------------------- shifts


def shifted(dataset: Dataset, kind: str, strength: float) -> Dataset:
    """``dataset`` with every image shifted. Raises :class:`ConfigError` for an unknown kind or strength."""
    train, validation, test = (
        Split(shift(split.images, kind, strength), split.labels)
        for split in (dataset.train, dataset.validation, dataset.test)
    )
    return Dataset(dataset.label, train, validation, test, dataset.classes, dataset.fingerprint)


def shift(images: Tensor, kind: str, strength: float) -> Tensor:
    """``images`` (N, channels, height, width) in [0, 1], shifted; they stay in [0, 1].

    ``contrast``: pixels at ``strength`` ≤ 1 times their distance from the mean of their image. ``blur``: Gaussian of
    standard deviation ``strength`` in pixels, the image mirrored at its borders. ``inversion``: ``strength`` of the
    way from x to 1 − x. ``none``: as they are. Raises :class:`ConfigError` for anything else.
    """
    if (kind, strength) == UNSHIFTED:
        return images
    if kind == "contrast" and 0 <= strength <= 1:
        return torch.lerp(images.mean((1, 2, 3), keepdim=True), images, strength)
    if kind == "blur" and strength > 0:
        return _blurred(images, strength)
    if kind == "inversion" and 0 <= strength <= 1:
        return torch.lerp(images, 1 - images, strength)
    raise ConfigError(
        f"shift {kind} of strength {strength:g}: contrast and inversion from 0 to 1, blur above 0, in pixels"
    )


def _blurred(images: Tensor, sigma: float) -> Tensor:
    prepare()
    from torchvision.transforms.v2 import functional

    # Three standard deviations to each side; mirrored, an image can lend no more than it has.
    size = 2 * min(math.ceil(3 * sigma), *(side - 1 for side in images.shape[-2:])) + 1
    return torch.cat(
        [functional.gaussian_blur(part, [size, size], [sigma, sigma]) for part in images.split(BLURRED_AT_A_TIME)]
    )


def letters(image: Tensor) -> str:
    """The first channel of ``image`` in 16 levels, a letter a pixel: a is 0, p is 1; / ends a row of pixels."""
    rows = image[0].mul(15).round().int().tolist()
    return "/".join("".join(chr(ord("a") + level) for level in row) for row in rows)


# ------------------------------------------------------------------------------------------------------ ways


def ways(each: Trained, seen: Dataset, steps: int, rates: Sequence[float]) -> Iterator[tuple[str, float, nn.Module]]:
    """Every way in which the network of ``each`` can meet the images of ``seen``: its name, its rate if it has one,
    and a network in evaluation mode. The network of ``each`` stays as it is; the first is that network itself."""
    config, model = each.planned.config, each.model
    order = ExampleOrder(config, len(seen.train))
    if not layers_with_running_statistics(model):
        yield AS_TRAINED, math.nan, model
        yield OUTPUT, *best(model, seen, order, steps, rates)
        return
    yield FROZEN, math.nan, model
    statistics = population_statistics(model, seen.train.images.split(config.batch_size))
    yield REESTIMATED, math.nan, freeze(model, statistics)
    yield OUTPUT_FROZEN, *best(model, seen, order, steps, rates)
    yield OUTPUT_NOT_FROZEN, *best(normalising_by_batch(model), seen, order, steps, rates)


def best(
    model: nn.Module, seen: Dataset, order: ExampleOrder, steps: int, rates: Sequence[float]
) -> tuple[float, nn.Module]:
    """The rate at which :func:`tuned` does best on validation (of equals the first), and that network."""
    networks = [tuned(model, seen.train, order, steps, rate) for rate in rates]
    found = [int(correct(network, seen.validation).sum()) for network in networks]
    chosen = found.index(max(found))
    return rates[chosen], networks[chosen]


def tuned(model: nn.Module, train: Split, order: ExampleOrder, steps: int, rate: float) -> nn.Module:
    """A copy of ``model`` after ``steps`` of SGD on its layer ``output`` alone, in evaluation mode.

    Each layer works as ``model`` has it set: normalisations in training mode go by the mini-batch, and their moving
    averages follow; no gradient reaches them.
    """
    network = copy.deepcopy(model).requires_grad_(False)
    output = network.get_submodule("output").requires_grad_(True)
    optimizer = torch.optim.SGD(output.parameters(), lr=rate, fused=True)
    for step in range(steps):
        chosen = order.batch(step)
        loss = F.cross_entropy(network(train.images[chosen]), train.labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


def correct(network: nn.Module, split: Split) -> Tensor:
    """Which examples (N,) the network gets right."""
    return scores(network, split.images, len(split)).argmax(1) == split.labels
