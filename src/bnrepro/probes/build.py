"""Builds the probes: each section of ``probes`` in the configuration is named after its module in this package."""

from __future__ import annotations

import importlib
from dataclasses import fields

from torch import nn

from bnrepro.config.schema import Config
from bnrepro.data import AnyDataset, Dataset
from bnrepro.errors import ConfigError
from bnrepro.probes.base import Probe


def build_probes(config: Config, data: AnyDataset, model: nn.Module) -> list[Probe]:
    """The probes that ``config`` enables. Raises :class:`ConfigError` if it enables any for streamed data."""
    enabled = [place.name for place in fields(config.probes) if getattr(config.probes, place.name).enabled]
    if enabled and not isinstance(data, Dataset):
        raise ConfigError("data.stream=true: the probes need their images in memory; disable them")
    return [importlib.import_module(f"bnrepro.probes.{name}").PROBE(config, data, model) for name in enabled]
