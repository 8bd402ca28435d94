"""The columns that tables begin with.

``X.csv``         long: run, experiment, arm, seed, step, examples, split, metric, value
``X.runs.csv``    one row per run: identity, status, last step, versions and every scientific key of its configuration
``X.timing.csv``  seconds, hardware, cores: the one table in which two identical sweeps may differ
``X.<probe>.csv`` what a probe saw, wide
"""

from __future__ import annotations

IDENTITY = ("run", "experiment", "arm", "seed")
LONG = [*IDENTITY, "step", "examples", "split", "metric", "value"]
FIRST_COLUMNS = [*IDENTITY, "key", "status", "last_step", "data", "fingerprint"]
