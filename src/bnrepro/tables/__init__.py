"""Finished runs and measurements as tidy CSV tables, and tables back as data frames. No torch from here on.

``X.csv``         long: run, experiment, arm, seed, step, examples, split, metric, value
``X.runs.csv``    one row per run: identity, status, last step, versions and every scientific key of its configuration
``X.timing.csv``  seconds, hardware, cores: the one table in which two identical sweeps may differ
``X.<probe>.csv`` what a probe saw, wide
``X.meta.csv``    beside a measurement's ``X.csv``: its key, settings, versions, hardware, seconds
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
