"""The choice of learning rate and initialisation behind Fig. 1. It carries no claim; its grids stand in the report."""

from __future__ import annotations

from bnrepro.claims.base import Experiment
from bnrepro.pictures import mnist_tuning as pictures

DECLARED = Experiment("mnist_tuning", (), pictures.figures)
