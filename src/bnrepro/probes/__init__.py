"""What is looked at inside a network while it trains.

A probe reads; it never changes weights, running statistics, mode or any random state. Its rows are CSV lines.
"""

from __future__ import annotations

from dataclasses import asdict

from torch import nn

from bnrepro.config.schema import Config
from bnrepro.data import AnyDataset, Dataset
from bnrepro.errors import ConfigError
from bnrepro.probes.activations import ActivationProbe
from bnrepro.probes.base import Observation, Probe, watching
from bnrepro.probes.landscape import LandscapeProbe
from bnrepro.probes.shift import ShiftProbe

__all__ = ["ActivationProbe", "LandscapeProbe", "Observation", "Probe", "ShiftProbe", "build_probes", "watching"]


def build_probes(config: Config, data: AnyDataset, model: nn.Module) -> list[Probe]:
    """The probes that the configuration switches on."""
    probes: list[Probe] = []
    if not isinstance(data, Dataset):
        if any(probe["enabled"] for probe in asdict(config.probes).values()):
            raise ConfigError("data.stream=true: the probes look at images in memory; leave them off")
        return probes
    if config.probes.activations.enabled:
        if not hasattr(model, "hidden"):
            raise ConfigError(f"probes.activations looks at fully connected hidden layers; model={config.model.name}")
        probes.append(ActivationProbe(config, data, model))
    if config.probes.landscape.enabled:
        probes.append(LandscapeProbe(config, data))
    if config.probes.shift.enabled:
        probes.append(ShiftProbe(config, data))
    return probes
