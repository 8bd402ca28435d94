"""Internal covariate shift as Santurkar et al. 2018 measure it: how updates of earlier layers change a gradient."""

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
from bnrepro.probes.next_step import Loss, NextStep, Parameters, distance, gradient, moved, norm, shown

Layers = Mapping[str, list[str]]
"""The parameter names of each layer, its weight first, by layer, in the order of the network."""


@dataclass(frozen=True)
class Shift:
    """How the gradient G of a layer's weight compares with G′, the same gradient once the layers before have moved.

    ``gradient`` is ‖G‖, ``distance`` is ‖G − G′‖, and ``cosine`` is that of the angle between the two: NaN if one of
    them is 0.
    """

    gradient: float
    distance: float
    cosine: float


def gradient_shifts(
    loss: Loss, parameters: Parameters, layers: Layers, rate: float, after: Callable[[str], Loss] | None = None
) -> dict[str, Shift]:
    """Definition 2.1 of Santurkar et al. 2018 for every layer.

    G is the gradient of ``loss`` at ``parameters``. G′ is taken on the same mini-batch after all layers before this one
    took their gradient step of ``rate``, while this layer and all later ones stay. ``after`` gives the loss for the G′
    of a layer, if it differs from that for G.
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
    """Cosine of the angle between two gradients, each as one vector; NaN if one of them is 0."""
    product = sum((one[name].double() * other[name].double()).sum().item() for name in one)
    norms = norm(one) * norm(other)
    return product / norms if norms else math.nan


def layers_of(model: nn.Module) -> dict[str, list[str]]:
    """The layers of ``model`` in the order of their definition.

    A block is one layer (its weight and bias, and the γ and β of its norm), and so is every module with parameters
    outside the blocks. Parallel branches count as consecutive layers.
    """
    blocks = [name for name, module in model.named_modules() if isinstance(module, Activated)]
    layers: dict[str, list[str]] = {}
    for name, _ in model.named_parameters():
        layer = next((block for block in blocks if name.startswith(f"{block}.")), name.rpartition(".")[0])
        layers.setdefault(layer, []).append(name)
    return layers


class ShiftProbe:
    """:func:`gradient_shifts` of every layer, from the current weights, on the mini-batch of the next step.

    Table ``shift`` has a row for each point and layer: ‖G‖, then ‖G − G′‖ and the cosine with the same random numbers
    in G and G′, then both again as ``redrawn``, where the layers before also draw new random numbers, as they do in
    training. The difference is what dropout and injected noise add; without random draws there is none. The update is
    the plain gradient's, without momentum and weight decay. ‖G − G′‖ of the first layer is 0.
    """

    def __init__(self, config: Config, data: Dataset, model: nn.Module) -> None:
        self.next = NextStep(config, data)
        self.headers = {"shift": "step,layer,name,gradient,distance,cosine,redrawn_distance,redrawn_cosine"}
        self.steps = frozenset(evenly(config.steps, config.probes.shift.points))

    def observe(self, model: nn.Module, step: int) -> Observation:
        (loss, parameters, rate), layers = self.next.at(model, step), layers_of(model)
        found = redrawn = gradient_shifts(loss, parameters, layers, rate)
        if loss.draws(parameters):

            def after(layer: str) -> Loss:
                return loss.redrawn_before(model.get_submodule(layer))

            redrawn = gradient_shifts(loss, parameters, layers, rate, after)
        seen = Observation({"shift": []})
        # A network that has just diverged gets no rows; the loop is about to stop it.
        if all(math.isfinite(shift.gradient) for shift in found.values()):
            for index, (name, shift) in enumerate(found.items()):
                values = [shown(shift.gradient), *_changes(shift), *_changes(redrawn[name])]
                seen.rows["shift"].append(",".join([str(step), str(index), name, *values]))
        return seen


def _changes(shift: Shift) -> tuple[str, str]:
    """Distance and cosine as they appear in the table; a cosine that does not exist is left empty."""
    return shown(shift.distance), "" if math.isnan(shift.cosine) else shown(shift.cosine)


PROBE = ShiftProbe
