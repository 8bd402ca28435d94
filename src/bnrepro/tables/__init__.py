"""Finished runs and measurements as tidy CSV tables, and the tables as data frames. No torch from here on.

``X.csv``         long format: run, experiment, arm, seed, step, examples, split, metric, value
``X.runs.csv``    one row per run: identity, status, data, versions and all scientific keys of its configuration
``X.timing.csv``  one row per run: seconds, hardware, cores; the only table in which two identical sweeps may differ
``X.<probe>.csv`` the observations of a probe, wide format
``X.meta.csv``    beside the ``X.csv`` of a measurement: its key, settings, versions, hardware, seconds
``SHA256SUMS``    the digests of all tables beside it, which :class:`Results` checks before it reads one
"""

from __future__ import annotations

from bnrepro.tables.read import COMPARISON, LONG, Measured, Results, Tables, read_experiment, read_measurement
from bnrepro.tables.watched import Watched
from bnrepro.tables.write import as_csv, collect, held, write_experiment, write_measurement
