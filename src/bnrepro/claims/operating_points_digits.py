"""The map on a second data set, the bundled digits. It carries no claim: operating_points prints its shares beside."""

from __future__ import annotations

from bnrepro.claims.claim import Experiment
from bnrepro.claims.operating_points.reading import DIGITS

DECLARED = Experiment(DIGITS, 6)
