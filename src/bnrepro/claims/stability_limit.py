"""The largest rate at which each arm trains, on a fine ladder of rates. higher_learning_rates is judged on it."""

from __future__ import annotations

from bnrepro.claims.claim import Experiment
from bnrepro.claims.operating_points.reading import LIMIT

DECLARED = Experiment(LIMIT, 7)
