"""A few numbers a run, for sweeps of hundreds: drift, saturation, and the norms of weights and gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bnrepro.config.schedule import points
from bnrepro.config.schema import Config
from bnrepro.data import Dataset
from bnrepro.drift import drift
from bnrepro.errors import ConfigError
from bnrepro.models import parameter_dtype
from bnrepro.probes.activations import activation_inputs_outputs, finite, saturated_share, unit_percentiles
from bnrepro.probes.base import Observation
from bnrepro.probes.next_step import NextLoss, gradient, norm, parameters_of, shown

PARTS = (0.02, 0.1, 0.5, 1.0)
"""Shares of the training, from its start: the drift within each takes that share as the whole."""


class SummaryProbe:
    """What §4.1 and §3.3 say of a network inside, in a few lines a run, on fixed validation images.

    Table ``drift`` holds, once a run, the :func:`~bnrepro.drift.drift` of the inputs to the last hidden activation
    (Fig. 1b, c) within each of ``PARTS``: its median, mean and 90th percentile over the units; empty for a part with
    fewer than two points. ``saturation`` holds the share of sigmoid outputs outside [0.05, 0.95] in each hidden layer.
    ``norms`` holds the L2 norm of the weight matrix of each layer, the output layer last, and of its gradient for one
    fixed mini-batch of validation images in training mode.

    Raises :class:`ConfigError` for networks without ``hidden`` layers.
    """

    def __init__(self, config: Config, data: Dataset, model: nn.Module) -> None:
        if not hasattr(model, "hidden"):
            raise ConfigError(f"probes.summary needs fully connected hidden layers; model={config.model.name} has none")
        probe, held_out = config.probes.summary, data.validation
        images = held_out.images.to(config.device, parameter_dtype(config))
        self.batch = images[: probe.examples]
        self.mini_batch = images[: config.batch_size], held_out.labels[: config.batch_size].to(config.device)
        self.activation = config.model.activation
        hidden = range(len(config.model.hidden))  # pyright: ignore[reportAttributeAccessIssue]
        self.weights = [*(f"hidden.{layer}.linear.weight" for layer in hidden), "output.weight"]
        self.headers = {
            "drift": "part,statistic,drift",
            "saturation": "step,layer,saturated",
            "norms": "step,layer,weight,gradient",
        }
        self.last_step = config.steps
        self.steps = frozenset(points(config.steps, probe))
        self.percentiles: dict[int, Tensor] = {}
        """Those of the last hidden layer (units, 3) at each point so far."""

    def observe(self, model: nn.Module, step: int) -> Observation:
        seen = Observation({name: [] for name in self.headers})
        layers = activation_inputs_outputs(model, self.batch)
        loss, parameters = NextLoss(model, *self.mini_batch), parameters_of(model)
        value, slopes = gradient(loss, parameters, self.weights)
        if not finite(layers) or not math.isfinite(value):
            # A network that has just diverged gets no rows; the loop is about to stop it.
            return seen
        for index, (_, outputs) in enumerate(layers):
            share = f"{saturated_share(outputs):.6g}" if self.activation == "sigmoid" else ""
            seen.rows["saturation"].append(f"{step},{index},{share}")
        for index, name in enumerate(self.weights):
            norms = [shown(norm({name: of[name]})) for of in (parameters, slopes)]
            seen.rows["norms"].append(",".join([str(step), str(index), *norms]))
        self.percentiles[step] = torch.from_numpy(unit_percentiles(layers[-1][0]))
        if step == self.last_step:
            seen.rows["drift"] = self._drifts()
        return seen

    def _drifts(self) -> list[str]:
        steps, percentiles = np.array(list(self.percentiles)), torch.stack(list(self.percentiles.values())).numpy()
        rows = []
        for part in PARTS:
            moved = drift(percentiles, steps, part)
            for name, summary in STATISTICS.items():
                rows.append(f"{part:g},{name},{'' if moved is None else shown(summary(moved))}")
        return rows

    def state_dict(self) -> dict[str, Any]:
        """The percentiles at each point so far, from which the drift is computed at the end."""
        return {"percentiles": self.percentiles}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.percentiles = dict(state["percentiles"])


def _p90(values: np.ndarray) -> float:
    """The 90th percentile, linear between ranks; the upper rank where a unit's drift is infinite."""
    return float(np.percentile(values, 90, method="linear" if np.isfinite(values).all() else "higher"))


STATISTICS: dict[str, Callable[[np.ndarray], float]] = {
    "median": lambda values: float(np.median(values)),
    "mean": lambda values: float(np.mean(values)),
    "p90": _p90,
}
"""Over the units of the layer."""
PROBE = SummaryProbe
