"""Finished runs and measurements as tidy CSV tables, and tables back as data frames. No torch from here on."""

from __future__ import annotations

from bnrepro.tables.columns import FIRST_COLUMNS, IDENTITY, LONG
from bnrepro.tables.read import (
    Measured,
    Results,
    Tables,
    read_experiment,
    read_measurement,
    read_table,
    text_of,
)
from bnrepro.tables.write import collect, held, write_experiment, write_measurement

__all__ = [
    "FIRST_COLUMNS",
    "IDENTITY",
    "LONG",
    "Measured",
    "Results",
    "Tables",
    "collect",
    "held",
    "read_experiment",
    "read_measurement",
    "read_table",
    "text_of",
    "write_experiment",
    "write_measurement",
]
