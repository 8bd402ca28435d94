"""The paths of runs and results; no other module knows them."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]


def outputs_folder() -> Path:
    """The folder of everything that git ignores: $BNREPRO_OUTPUTS, else outputs/."""
    return Path(os.environ.get("BNREPRO_OUTPUTS") or REPOSITORY / "outputs").expanduser()


def data_folder() -> Path:
    return REPOSITORY / "data"


def configs_folder() -> Path:
    return REPOSITORY / "configs"


def committed_results() -> Path:
    return REPOSITORY / "results"


def results_folder(profile: str, treatment: str = "batch", substitute: str | None = None) -> Path:
    """The folder of a profile's tables, figures and report.

    It is the committed one (or $BNREPRO_RESULTS) only for the full profile with the paper's own treatment, on the data
    of the claims rather than on a ``substitute``.
    """
    if profile == "full" and treatment == "batch" and substitute is None:
        return Path(os.environ.get("BNREPRO_RESULTS") or committed_results()).expanduser()
    parts = (profile, treatment if treatment != "batch" else None, substitute)
    return outputs_folder() / "-".join(filter(None, parts))
