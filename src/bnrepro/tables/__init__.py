"""Finished runs and measurements as tidy CSV tables, and the tables as data frames. No torch from here on.

``X.csv``         long format: run, experiment, arm, seed, step, examples, split, metric, value
``X.runs.csv``    one row per run: identity, status, data, versions and all scientific keys of its configuration
``X.timing.csv``  one row per run: seconds, hardware, cores; the only table in which two identical sweeps may differ
``X.<probe>.csv`` the observations of a probe, wide format
``X.meta.csv``    beside the ``X.csv`` of a measurement: its key, settings, versions, hardware, seconds
"""

from __future__ import annotations

from bnrepro.tables.read import (
    LONG,
    Measured,
    Results,
    Tables,
    read_experiment,
    read_measurement,
    read_table,
    records,
    text_of,
)
from bnrepro.tables.write import as_csv, collect, held, write_experiment, write_measurement
