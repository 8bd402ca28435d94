"""The landscape of the small Inception: estimates beside those of landscape, and a figure; no claim of its own."""

from __future__ import annotations

from bnrepro.claims.base import Experiment
from bnrepro.pictures import landscape as pictures

EXPERIMENT = "landscape_inception"

DECLARED = Experiment(EXPERIMENT, (), lambda results: pictures.figures(results, EXPERIMENT), exam=False)
