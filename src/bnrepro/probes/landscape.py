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


@dataclass(frozen=True)
class Line:
    """Loss and gradient on a straight line from a start w, along its negative gradient −g.

    ``lengths`` (η) are in units of g: at η the weights are w − η·g. ``losses`` and ``changes`` belong to them, the
    latter the L2 distances ‖g(w − η·g) − g‖; ``loss`` and ``gradient`` (‖g‖) to the start.
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
        """Largest minus smallest loss over the lengths, the start not among them, as in Fig. 4."""
        return self.highest - self.lowest

    @property
    def smoothness(self) -> float:
        """Effective β-smoothness: the largest change of the gradient for the distance gone, ‖Δg‖ / (η‖g‖). If the
        loss is quadratic, ‖Hg‖ / ‖g‖: the curvature along the gradient where that is an eigenvector, else more. Not
        finite where the gradient is 0."""
        gone = [length * self.gradient for length in self.lengths]
        return float(
            np.max([change / far if far else math.inf for change, far in zip(self.changes, gone, strict=True)])
        )


def along_gradient(loss: Loss, parameters: Parameters, lengths: Sequence[float]) -> Line:
    """Loss and gradient at ``parameters``, and at each of ``lengths`` along the negative gradient from there."""
    start, slope = gradient(loss, parameters)
    seen = [gradient(loss, moved(parameters, slope, length)) for length in lengths]
    changes = tuple(distance(there, slope) for _, there in seen)
    return Line(start, norm(slope), tuple(lengths), tuple(value for value, _ in seen), changes)


class LandscapeProbe:
    """From the present weights and the mini-batch of the next step: loss and gradient at steps of ``shortest`` to
    ``longest`` learning rates along the negative gradient, the network in training mode.

    Table ``landscape``, a row a point: the rate, the loss at the start, its smallest and largest value and their
    difference over the steps, the norm of the gradient at the start, the smallest, mean and largest L2 distance of the
    gradient from there, and the effective β-smoothness. The step is the plain gradient's, without momentum and decay.
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
        rate = self.next.rate(step)
        loss = NextLoss(model, *self.next.batch(step))
        line = along_gradient(loss, parameters_of(model), [rate * length for length in self.lengths])
        seen = Observation({"landscape": []})
        # Of a network that has just diverged, which the loop is about to find out, there are no rows.
        if math.isfinite(line.loss) and math.isfinite(line.gradient):
            changes = [float(summary(line.changes)) for summary in (np.min, np.mean, np.max)]
            values = (
                rate,
                line.loss,
                line.lowest,
                line.highest,
                line.loss_range,
                line.gradient,
                *changes,
                line.smoothness,
            )
            seen.rows["landscape"].append(",".join([str(step), *map(shown, values)]))
        return seen


PROBE = LandscapeProbe
