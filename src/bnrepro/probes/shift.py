"""Internal covariate shift as Santurkar et al. 2018 measure it: what the updates of earlier layers do to a gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from bnrepro.config.schedule import evenly
from bnrepro.config.schema import Config
from bnrepro.data import Dataset
from bnrepro.models.blocks import Activated
from bnrepro.probes.base import Observation
from bnrepro.probes.next_step import (
    Loss,
    NextLoss,
    NextStep,
    Parameters,
    distance,
    gradient,
    moved,
    norm,
    parameters_of,
    shown,
)

Layers = Mapping[str, list[str]]
"""The parameters of each layer, its weight first, by the layer's name, in the order of the network."""


@dataclass(frozen=True)
class Shift:
    """The gradient G of a layer's weight, and G′, the same once the layers before it have moved: ‖G‖, ‖G − G′‖, and
    the cosine of the angle between the two (not a number where one of them is 0)."""

    gradient: float
    distance: float
    cosine: float


def gradient_shifts(
    loss: Loss, parameters: Parameters, layers: Layers, rate: float, after: Callable[[str], Loss] | None = None
) -> dict[str, Shift]:
    """Definition 2.1 of the follow-up, layer by layer: G by ``loss`` at ``parameters``; G′ on the same mini-batch after
    all parameters of the layers before this one took their gradient step of ``rate``, and it and all later ones none.

    ``after`` gives the loss by which a layer's G′ is taken, if it is another one than G's.
    """
    _, slopes = gradient(loss, parameters)
    before: Parameters = {}
    shifts = {}
    for layer, names in layers.items():
        weight = names[0]
        own = {weight: slopes[weight]}
        _, then = gradient(after(layer) if after else loss, moved(parameters, before, rate), [weight])
        shifts[layer] = Shift(norm(own), distance(own, then), cosine(own, then))
        before |= {name: slopes[name] for name in names}
    return shifts


def cosine(one: Parameters, other: Parameters) -> float:
    """Cosine of the angle between two gradients, each as one vector; not a number where one of them is 0."""
    product = sum((one[name].double() * other[name].double()).sum().item() for name in one)
    norms = norm(one) * norm(other)
    return product / norms if norms else math.nan


def layers_of(model: nn.Module) -> dict[str, list[str]]:
    """The layers of ``model``, in the order of their definition: a block (its weight and bias, and its norm's γ and β)
    is one, and so is what stands outside the blocks. Branches side by side count as one after another."""
    blocks = [name for name, module in model.named_modules() if isinstance(module, Activated)]
    layers: dict[str, list[str]] = {}
    for name, _ in model.named_parameters():
        layer = next((block for block in blocks if name.startswith(f"{block}.")), name.rpartition(".")[0])
        layers.setdefault(layer, []).append(name)
    return layers


class ShiftProbe:
    """:func:`gradient_shifts` of every layer, from the present weights, on the mini-batch of the next step.

    Table ``shift``, a row a point and layer: ‖G‖, ‖G − G′‖ and cosine with the same random numbers in G and G′, and
    the two again, ``redrawn``, where the layers before also draw those of the next step, as in training they would:
    what dropout and injected noise add; the same where nothing is drawn. The update is the plain gradient's, without
    momentum and decay. ‖G − G′‖ of the first layer is 0.
    """

    def __init__(self, config: Config, data: Dataset, model: nn.Module) -> None:
        self.next = NextStep(config, data)
        self.headers = {"shift": "step,layer,name,gradient,distance,cosine,redrawn_distance,redrawn_cosine"}
        self.steps = frozenset(evenly(config.steps, config.probes.shift.points))

    def observe(self, model: nn.Module, step: int) -> Observation:
        loss, parameters, layers = NextLoss(model, *self.next.batch(step)), parameters_of(model), layers_of(model)
        rate = self.next.rate(step)
        found = redrawn = gradient_shifts(loss, parameters, layers, rate)
        if loss.draws(parameters):

            def after(layer: str) -> Loss:
                return loss.redrawn_before(model.get_submodule(layer))

            redrawn = gradient_shifts(loss, parameters, layers, rate, after)
        seen = Observation({"shift": []})
        # Of a network that has just diverged, which the loop is about to find out, there are no rows.
        if all(math.isfinite(shift.gradient) for shift in found.values()):
            for index, (name, shift) in enumerate(found.items()):
                values = [shown(shift.gradient), *_changes(shift), *_changes(redrawn[name])]
                seen.rows["shift"].append(",".join([str(step), str(index), name, *values]))
        return seen


def _changes(shift: Shift) -> tuple[str, str]:
    """Distance and cosine as the table holds them; a cosine that does not exist is left empty."""
    return shown(shift.distance), "" if math.isnan(shift.cosine) else shown(shift.cosine)


PROBE = ShiftProbe
