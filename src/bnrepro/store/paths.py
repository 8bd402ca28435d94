"""Where runs and results lie on disk: the only module that knows."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]


def outputs_folder() -> Path:
    """Everything that git ignores; $BNREPRO_OUTPUTS moves it."""
    return Path(os.environ.get("BNREPRO_OUTPUTS") or REPOSITORY / "outputs")


def data_folder() -> Path:
    return REPOSITORY / "data"


def configs_folder() -> Path:
    return REPOSITORY / "configs"


def committed_results() -> Path:
    return REPOSITORY / "results"


def results_folder(profile: str, treatment: str = "batch", substitute: str | None = None) -> Path:
    """Where a profile's tables, figures and report go. Only the full profile, on the data that the claims are
    about and with the paper's own treatment, is what the repository commits."""
    if profile == "full" and treatment == "batch" and substitute is None:
        return Path(os.environ.get("BNREPRO_RESULTS") or committed_results())
    parts = [profile] + ([treatment] if treatment != "batch" else []) + ([substitute] if substitute else [])
    return outputs_folder() / "-".join(parts)
