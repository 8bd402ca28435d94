"""How smooth the loss is along the step that training takes: the ranges of Santurkar et al. 2018, Fig. 4."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from bnrepro.config.schedule import evenly
from bnrepro.config.schema import Config
from bnrepro.data import Dataset
from bnrepro.probes.base import Observation
from bnrepro.probes.next_step import Loss, NextStep, Parameters, distance, gradient, moved, norm, shown


@dataclass(frozen=True)
class Line:
    """Loss and gradient on a straight line from the weights w along their negative gradient −g.

    ``lengths`` (η) are in units of g: the weights at η are w − η·g. ``losses`` and ``changes`` hold one value per
    length; ``changes`` are the L2 distances ‖g(w − η·g) − g‖. ``loss`` and ``gradient`` (‖g‖) belong to w.
    """

    loss: float
    gradient: float
    lengths: tuple[float, ...]
    losses: tuple[float, ...]
    changes: tuple[float, ...]

    @property
    def lowest(self) -> float:
        return float(np.min(self.losses))

    @property
    def highest(self) -> float:
        return float(np.max(self.losses))

    @property
    def loss_range(self) -> float:
        """Largest minus smallest loss over the lengths, without the start, as in Fig. 4."""
        return self.highest - self.lowest

    @property
    def smoothness(self) -> float:
        """Effective β-smoothness: the largest change of the gradient per distance, ‖Δg‖ / (η‖g‖).

        For a quadratic loss this is ‖Hg‖ / ‖g‖: the curvature along the gradient if the gradient is an eigenvector,
        else more. Infinite where the gradient is 0.
        """
        distances = [length * self.gradient for length in self.lengths]
        ratios = [change / far if far else math.inf for change, far in zip(self.changes, distances, strict=True)]
        return float(np.max(ratios))


def along_gradient(loss: Loss, parameters: Parameters, lengths: Sequence[float]) -> Line:
    """Loss and gradient at ``parameters`` and at each of ``lengths`` along the negative gradient there."""
    start, slope = gradient(loss, parameters)
    seen = [gradient(loss, moved(parameters, slope, length)) for length in lengths]
    changes = tuple(distance(there, slope) for _, there in seen)
    return Line(start, norm(slope), tuple(lengths), tuple(value for value, _ in seen), changes)


class LandscapeProbe:
    """Loss and gradient along the negative gradient of the next step, from the current weights.

    The lengths run from ``shortest`` to ``longest`` learning rates, the network is in training mode, and the mini-batch
    is that of the next step. The step is the plain gradient's, without momentum and weight decay.

    Table ``landscape`` has a row for each point: the learning rate; the loss at the start, its smallest and largest
    value along the line and their difference; the norm of the gradient at the start; the smallest, mean and largest L2
    distance of the gradient from there; and the effective β-smoothness.
    """

    def __init__(self, config: Config, data: Dataset, model: nn.Module) -> None:
        probe = config.probes.landscape
        self.next = NextStep(config, data)
        self.lengths = np.geomspace(probe.shortest, probe.longest, probe.lengths).tolist()
        self.headers = {
            "landscape": "step,rate,loss,loss_low,loss_high,loss_range,gradient,change_low,change_mean,change_high,"
            "smoothness"
        }
        self.steps = frozenset(evenly(config.steps, probe.points))

    def observe(self, model: nn.Module, step: int) -> Observation:
        loss, parameters, rate = self.next.at(model, step)
        line = along_gradient(loss, parameters, [rate * length for length in self.lengths])
        seen = Observation({"landscape": []})
        # A network that has just diverged gets no row; the loop is about to stop it.
        if math.isfinite(line.loss) and math.isfinite(line.gradient):
            losses = (line.loss, line.lowest, line.highest, line.loss_range)
            changes = [float(summary(line.changes)) for summary in (np.min, np.mean, np.max)]
            values = (rate, *losses, line.gradient, *changes, line.smoothness)
            seen.rows["landscape"].append(",".join([str(step), *map(shown, values)]))
        return seen


PROBE = LandscapeProbe
