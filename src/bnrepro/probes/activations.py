"""The distribution of every hidden layer over training: the percentiles of Fig. 1b, c, and histograms."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from bnrepro.config.schedule import evenly, points
from bnrepro.config.schema import Config
from bnrepro.data import Dataset
from bnrepro.errors import ConfigError
from bnrepro.models import parameter_dtype
from bnrepro.norm import has_running_statistics
from bnrepro.probes.base import Observation, watching

PERCENTILES = (15, 50, 85)
UNIT = 0
"""The unit of the last hidden layer that is shown while a run trains: the one of the figure."""
SATURATED = (0.05, 0.95)
"""A sigmoid's output outside this interval counts as saturated (its slope is below a fifth of the largest)."""
HISTOGRAM_BINS = {"input": np.linspace(-10, 10, 81), "sigmoid": np.linspace(0, 1, 51), "relu": np.linspace(0, 10, 51)}


class ActivationProbe:
    """Percentiles of the *inputs* of the activations, and histograms of inputs and outputs, on fixed validation images.

    Tables: ``activations`` holds every unit of the last hidden layer, a row for each percentile and a column for each
    unit; ``layers`` the mean over the units of each hidden layer and its share of saturated outputs; ``histograms`` the
    counts. ``statistics`` is ``running`` for the network as it is evaluated, ``batch`` for the same with the probe
    batch's own mean and variance.
    """

    def __init__(self, config: Config, data: Dataset, model: nn.Module) -> None:
        if not hasattr(model, "hidden"):
            raise ConfigError(f"probes.activations looks at fully connected hidden layers; model={config.model.name}")
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
            # A network that has just diverged, which the loop is about to find out: of that there are no rows.
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
        for index, (inputs, outputs) in enumerate(layers):
            values = unit_percentiles(inputs)
            saturated = "" if self.activation != "sigmoid" else f"{saturated_share(outputs):.6g}"
            mean = ",".join(f"{value:.6g}" for value in values.mean(axis=0))
            seen.rows["layers"].append(f"{step},{index},{statistics},{mean},{saturated}")
        if statistics == "running":
            seen.values |= shown_percentiles(values)
        # Four digits resolve a hundredth of a line's width in the figure, and keep the committed table small.
        seen.rows["activations"] += [
            f"{step},{statistics},{percentile}," + ",".join(f"{value:.4g}" for value in column)
            for percentile, column in zip(PERCENTILES, values.T, strict=True)
        ]

    def _histograms(self, seen: Observation, step: int, layers: list[tuple[Tensor, Tensor]]) -> None:
        for index, (inputs, outputs) in enumerate(layers):
            for quantity, values, bins in (
                ("input", inputs, HISTOGRAM_BINS["input"]),
                ("output", outputs, HISTOGRAM_BINS[self.activation]),
            ):
                # What lies outside the bins is counted in the outermost ones: nothing is dropped.
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

    The network evaluates as at inference, or, with ``batch_statistics``, normalises by the statistics of ``batch``
    itself, as it would in a training step. Nothing of the network changes.
    """
    caught: list[tuple[Tensor, Tensor]] = []

    def catch(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        caught.append((inputs[0], output))

    handles = [block.activation.register_forward_hook(catch) for block in model.hidden]  # pyright: ignore
    try:
        with watching(model):
            if batch_statistics:
                for module in model.modules():
                    if has_running_statistics(module):
                        module.train()
                # Called with copies of the buffers, so that the running statistics learn nothing from this.
                copies = {name: buffer.clone() for name, buffer in model.named_buffers()}
                torch.func.functional_call(model, copies, (batch,))
            else:
                model(batch)
    finally:
        for handle in handles:
            handle.remove()
    return caught


def finite(layers: list[tuple[Tensor, Tensor]]) -> bool:
    """Whether every activation has a finite input."""
    return all(bool(torch.isfinite(inputs).all()) for inputs, _ in layers)


def has_batch_statistics(model: nn.Module) -> bool:
    """Whether inference and training normalise differently, so that the two versions of the figure differ."""
    return any(has_running_statistics(module) for module in model.modules())


def unit_percentiles(values: Tensor) -> np.ndarray:
    """The 15th, 50th and 85th percentile (units, 3) of ``values`` (examples, units), linear between ranks."""
    # numpy's sort: many times faster than torch's on a CPU, and a probe must cost next to nothing.
    ranked = np.sort(values.t().contiguous().cpu().numpy(), axis=1).astype(np.float64)
    position = np.array(PERCENTILES) / 100 * (ranked.shape[1] - 1)
    low = position.astype(int)
    high = np.minimum(low + 1, ranked.shape[1] - 1)
    return ranked[:, low] + (position - low) * (ranked[:, high] - ranked[:, low])


def shown_percentiles(values: np.ndarray) -> dict[str, float]:
    """What a curve shows of percentiles (units, 3): those of one unit, and of each the median over the units."""
    shown = {"inputs/first": values[UNIT], "inputs/median": np.median(values, axis=0)}
    return {
        f"{name}_p{percentile}": float(value)
        for name, three in shown.items()
        for percentile, value in zip(PERCENTILES, three, strict=True)
    }


def saturated_share(outputs: Tensor) -> float:
    """The fraction of sigmoid outputs outside [0.05, 0.95]."""
    low, high = SATURATED
    return ((outputs < low) | (outputs > high)).double().mean().item()


PROBE = ActivationProbe
