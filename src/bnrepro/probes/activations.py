"""The distribution of every hidden layer over training: percentiles (Fig. 1b, c) and histograms."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from bnrepro.config.schedule import evenly, points
from bnrepro.config.schema import Config
from bnrepro.data import Dataset
from bnrepro.errors import ConfigError
from bnrepro.models import parameter_dtype
from bnrepro.norm import layers_with_running_statistics
from bnrepro.probes.base import Observation, forward_on_copies, watching

PERCENTILES = (15, 50, 85)
UNIT = 0
"""The unit of the last hidden layer that live views show."""
SATURATED = (0.05, 0.95)
"""A sigmoid output outside this interval is saturated: the slope is below a fifth of its maximum."""
HISTOGRAM_BINS = {"input": np.linspace(-10, 10, 81), "sigmoid": np.linspace(0, 1, 51), "relu": np.linspace(0, 10, 51)}


class ActivationProbe:
    """Percentiles of the *inputs* of the activations, histograms of inputs and outputs, on fixed validation images.

    Tables: ``activations`` holds every unit of the last hidden layer, a row for each percentile and a column for each
    unit; ``layers`` holds the mean over the units of each hidden layer and its share of saturated outputs;
    ``histograms`` holds the counts. ``statistics`` is ``running`` for the network as it is evaluated, and ``batch`` for
    the network with the mean and variance of the probe's own images. Raises :class:`ConfigError` for networks without
    ``hidden`` layers.
    """

    def __init__(self, config: Config, data: Dataset, model: nn.Module) -> None:
        if not hasattr(model, "hidden"):
            raise ConfigError(
                f"probes.activations needs fully connected hidden layers; model={config.model.name} has none"
            )
        probe = config.probes.activations
        self.batch = data.validation.images[: probe.examples].to(config.device, parameter_dtype(config))
        self.activation = config.model.activation
        units = activation_inputs_outputs(model, self.batch[:2])[-1][0].shape[1]
        self.headers = {
            "activations": ",".join(["step,statistics,percentile", *(f"u{unit}" for unit in range(units))]),
            "layers": "step,layer,statistics,p15,p50,p85,saturated",
            "histograms": "step,layer,quantity,low,high,count",
        }
        at = points(config.steps, probe)
        self.batch_steps = frozenset(at[:: probe.batch_every] if probe.batch_every else ())
        self.histogram_steps = frozenset(evenly(config.steps, probe.histograms))
        self.percentile_steps = frozenset(at)
        self.steps = self.percentile_steps | self.histogram_steps

    def observe(self, model: nn.Module, step: int) -> Observation:
        seen = Observation({name: [] for name in self.headers})
        layers = activation_inputs_outputs(model, self.batch)
        if not finite(layers):
            # A network that has just diverged gets no rows; the loop is about to stop it.
            return seen
        if step in self.percentile_steps:
            self._percentiles(seen, step, layers, "running")
            if step in self.batch_steps and has_batch_statistics(model):
                own = activation_inputs_outputs(model, self.batch, batch_statistics=True)
                if finite(own):
                    self._percentiles(seen, step, own, "batch")
        if step in self.histogram_steps:
            self._histograms(seen, step, layers)
        return seen

    def _percentiles(self, seen: Observation, step: int, layers: list[tuple[Tensor, Tensor]], statistics: str) -> None:
        percentiles = [unit_percentiles(inputs) for inputs, _ in layers]
        for index, (values, (_, outputs)) in enumerate(zip(percentiles, layers, strict=True)):
            saturated = f"{saturated_share(outputs):.6g}" if self.activation == "sigmoid" else ""
            mean = ",".join(f"{value:.6g}" for value in values.mean(axis=0))
            seen.rows["layers"].append(f"{step},{index},{statistics},{mean},{saturated}")
        if statistics == "running":
            seen.values |= shown_percentiles(percentiles[-1])
        # Four digits resolve a hundredth of a line's width in the figure and keep the committed table small.
        seen.rows["activations"] += [
            f"{step},{statistics},{percentile}," + ",".join(f"{value:.4g}" for value in column)
            for percentile, column in zip(PERCENTILES, percentiles[-1].T, strict=True)
        ]

    def _histograms(self, seen: Observation, step: int, layers: list[tuple[Tensor, Tensor]]) -> None:
        for index, (inputs, outputs) in enumerate(layers):
            for quantity, values, bins in (
                ("input", inputs, HISTOGRAM_BINS["input"]),
                ("output", outputs, HISTOGRAM_BINS[self.activation]),
            ):
                # The outermost bins also count the values beyond them: nothing is dropped.
                clipped = np.clip(values.float().cpu().numpy(), bins[0], bins[-1])
                counts, _ = np.histogram(clipped, bins)
                seen.histograms[f"hidden.{index}.{quantity}"] = (counts, bins)
                seen.rows["histograms"] += [
                    f"{step},{index},{quantity},{low:.6g},{high:.6g},{count}"
                    for low, high, count in zip(bins[:-1], bins[1:], counts, strict=True)
                ]


def activation_inputs_outputs(
    model: nn.Module, batch: Tensor, batch_statistics: bool = False
) -> list[tuple[Tensor, Tensor]]:
    """Input and output (examples, units) of the activation of every hidden layer, for one pass of ``batch``.

    The network runs as at inference or, with ``batch_statistics``, normalises by the statistics of ``batch`` itself, as
    in a training step. Nothing changes in the network.
    """
    caught: list[tuple[Tensor, Tensor]] = []

    def catch(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        caught.append((inputs[0], output))

    handles = [block.activation.register_forward_hook(catch) for block in model.hidden]  # pyright: ignore
    try:
        with watching(model):
            if batch_statistics:
                for layer in layers_with_running_statistics(model):
                    layer.train()
            forward_on_copies(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    return caught


def finite(layers: list[tuple[Tensor, Tensor]]) -> bool:
    """Whether every activation has a finite input."""
    return all(bool(torch.isfinite(inputs).all()) for inputs, _ in layers)


def has_batch_statistics(model: nn.Module) -> bool:
    """Whether training and inference normalise differently, so that the figure has two versions."""
    return bool(layers_with_running_statistics(model))


def unit_percentiles(values: Tensor) -> np.ndarray:
    """15th, 50th and 85th percentile (units, 3) of ``values`` (examples, units), linear between ranks."""
    # numpy sorts many times faster than torch on a CPU, and a probe must cost next to nothing.
    ranked = np.sort(values.t().contiguous().cpu().numpy(), axis=1).astype(np.float64)
    position = np.array(PERCENTILES) / 100 * (ranked.shape[1] - 1)
    low = position.astype(int)
    high = np.minimum(low + 1, ranked.shape[1] - 1)
    return ranked[:, low] + (position - low) * (ranked[:, high] - ranked[:, low])


def shown_percentiles(values: np.ndarray) -> dict[str, float]:
    """The curves of a live view from percentiles (units, 3): those of one unit, and the median over all units."""
    shown = {"inputs/first": values[UNIT], "inputs/median": np.median(values, axis=0)}
    return {
        f"{name}_p{percentile}": float(value)
        for name, three in shown.items()
        for percentile, value in zip(PERCENTILES, three, strict=True)
    }


def observed(tables: Mapping[str, str]) -> dict[int, Observation]:
    """What live views show of a finished run, by step, from the probe's ``tables`` (CSV text by name)."""
    found: dict[int, Observation] = {}
    percentiles: dict[int, list[list[float]]] = {}
    for row in csv.reader(io.StringIO(tables.get("activations", ""))):
        if row[1] == "running":
            percentiles.setdefault(int(row[0]), []).append([float(value) for value in row[3:]])
    for step, columns in percentiles.items():
        found.setdefault(step, Observation()).values |= shown_percentiles(np.array(columns).T)
    bins: dict[tuple[int, str], list[tuple[float, float, int]]] = {}
    for row in csv.DictReader(io.StringIO(tables.get("histograms", ""))):
        name = f"hidden.{row['layer']}.{row['quantity']}"
        bins.setdefault((int(row["step"]), name), []).append((float(row["low"]), float(row["high"]), int(row["count"])))
    for (step, name), each in bins.items():
        edges = np.array([low for low, _, _ in each] + [each[-1][1]])
        counts = np.array([count for _, _, count in each])
        found.setdefault(step, Observation()).histograms[name] = (counts, edges)
    return found


def saturated_share(outputs: Tensor) -> float:
    """The fraction of sigmoid outputs outside [0.05, 0.95]."""
    low, high = SATURATED
    return ((outputs < low) | (outputs > high)).double().mean().item()


PROBE = ActivationProbe
