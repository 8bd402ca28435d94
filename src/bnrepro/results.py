"""The tables of one results folder, as claims and pictures ask for them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from bnrepro import tables
from bnrepro.tables import Measured, Tables


@dataclass(frozen=True, eq=False)  # equal only to itself: its cache is of the tables as they were
class Results:
    """The tables of one results folder, seen as the exam of one treatment against the network without it."""

    folder: Path
    treatment: str = "batch"

    @functools.lru_cache(maxsize=64)  # noqa: B019 - lives as long as one report
    def tables(self, experiment: str) -> Tables | None:
        """An experiment's tables, None where it has not been run."""
        return tables.read(experiment, self.folder)

    @functools.lru_cache(maxsize=64)  # noqa: B019
    def measured(self, name: str) -> Measured | None:
        """A measurement's table, None where it has not been made."""
        return tables.read_measurement(name, self.folder)
