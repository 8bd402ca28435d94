"""Readers: a trained network gets shifted images, with its statistics frozen or re-estimated, or a new output layer.

The shift acts on the input of the network. For MNIST this is a binary image, so a shifted image has grey values: made
binary after the shift, lower contrast would change nothing, and blur would only thicken the strokes.
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
    """Test accuracy of every trained network for every shift and way, the unshifted images first.

    Columns: ``arm``, ``seed``; ``shift`` and its ``strength``, see :func:`shifted`; ``way``; ``rate``, the learning
    rate that did best on the shifted validation images, if the way has one; ``examples`` of the test set; ``accuracy``
    on them, and the shares of them that the way has ``gained`` and ``lost`` against the first way; ``example``, once
    for each shift: the first test image as the network gets it, see :func:`letters`.

    Ways of a network with running statistics:

    - ``frozen``: as trained, with its moving averages.
    - ``re-estimated``: Algorithm 2 over the shifted training images; it uses no label.
    - ``last layer, BN frozen``: only the output layer is trained further, on labelled shifted images.
    - ``last layer, BN not frozen``: the same while BN normalises by the mini-batch and its moving averages follow.
      γ and β stay: in both ways the gradient changes only the output layer.

    A network without running statistics is evaluated ``as trained``, and with its ``last layer`` trained further.
    Raises :class:`ConfigError` for shifts, rates or steps out of range, or images that are not in [0, 1].
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

    ``contrast`` multiplies the distance of each pixel from the mean of its image by ``strength`` ≤ 1. ``blur`` is
    Gaussian with a standard deviation of ``strength`` pixels; the image is mirrored at its borders. ``inversion`` moves
    x by the share ``strength`` of the way to 1 − x. ``none`` changes nothing. Raises :class:`ConfigError` for anything
    else.
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

    # Three standard deviations to each side, but no more pixels than the image has for mirroring.
    size = 2 * min(math.ceil(3 * sigma), *(side - 1 for side in images.shape[-2:])) + 1
    return torch.cat(
        [functional.gaussian_blur(part, [size, size], [sigma, sigma]) for part in images.split(BLURRED_AT_A_TIME)]
    )


def letters(image: Tensor) -> str:
    """The first channel of ``image`` in 16 levels, a letter for each pixel: a is 0, p is 1; / ends a row of pixels."""
    rows = image[0].mul(15).round().int().tolist()
    return "/".join("".join(chr(ord("a") + level) for level in row) for row in rows)


# ------------------------------------------------------------------------------------------------------ ways


def ways(each: Trained, seen: Dataset, steps: int, rates: Sequence[float]) -> Iterator[tuple[str, float, nn.Module]]:
    """Every way in which the network of ``each`` can process the images of ``seen``: name, rate if any, and network.

    The networks are in evaluation mode. The first is that of ``each`` itself, which does not change.
    """
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
    """The rate at which :func:`tuned` does best on validation (the first of equals), and that network."""
    networks = [tuned(model, seen.train, order, steps, rate) for rate in rates]
    found = [int(correct(network, seen.validation).sum()) for network in networks]
    chosen = found.index(max(found))
    return rates[chosen], networks[chosen]


def tuned(model: nn.Module, train: Split, order: ExampleOrder, steps: int, rate: float) -> nn.Module:
    """A copy of ``model`` after ``steps`` of SGD on its layer ``output`` alone, in evaluation mode.

    Each layer works in the mode that ``model`` has set: normalisations in training mode use the mini-batch, and their
    moving averages follow; no gradient reaches them.
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
    """Which examples (N,) the network classifies correctly."""
    return scores(network, split.images, len(split)).argmax(1) == split.labels
