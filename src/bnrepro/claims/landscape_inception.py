"""The loss landscape of the small Inception. It carries no claim: ``landscape`` prints its estimates."""

from __future__ import annotations

from matplotlib.figure import Figure

from bnrepro.claims import landscape
from bnrepro.claims.claim import Experiment
from bnrepro.tables import Results

NAME = landscape.INCEPTION


def figures(results: Results) -> dict[str, Figure]:
    return landscape.ranges(results, NAME)


DECLARED = Experiment(NAME, 300, draw=figures, any_normaliser=False, draws_all=True)
