"""The first layer enlarged at the start. It carries no claim: parameter_growth prints what it costs each arm."""

from __future__ import annotations

from bnrepro.claims.claim import Experiment
from bnrepro.claims.operating_points.growth import FIRST_LAYER

DECLARED = Experiment(FIRST_LAYER, 9)
