"""The paths of runs and results; no other module knows them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]


def outputs_folder() -> Path:
    """The folder of everything that git ignores: $BNREPRO_OUTPUTS, else outputs/."""
    return _named("BNREPRO_OUTPUTS") or REPOSITORY / "outputs"


def data_folder() -> Path:
    return REPOSITORY / "data"


def configs_folder() -> Path:
    return REPOSITORY / "configs"


def choices(group: str, own_groups: Path | None = None) -> list[str]:
    """The names in ``configs/GROUP``, sorted, then those of a user's own folder of groups."""
    folders = [configs_folder(), *([own_groups] if own_groups is not None else [])]
    return list(dict.fromkeys(path.stem for folder in folders for path in sorted((folder / group).glob("*.yaml"))))


def committed_results() -> Path:
    return REPOSITORY / "results"


def results_folder(profile: str, treatment: str = "batch", substitute: str | None = None) -> Path:
    """The folder of a profile's tables, figures and report.

    It is the committed one (or $BNREPRO_RESULTS) only for the full profile with the paper's own treatment, on the data
    of the claims rather than on a ``substitute``.
    """
    if profile == "full" and treatment == "batch" and substitute is None:
        return _named("BNREPRO_RESULTS") or committed_results()
    parts = (profile, treatment if treatment != "batch" else None, substitute)
    return outputs_folder() / "-".join(filter(None, parts))


def short(name: str, longest: int, meaning: str | None = None) -> str:
    """``name`` as a part of a file's name: if longer, cut to ``longest`` characters and a digest of ``meaning``."""
    if len(name) <= longest:
        return name
    return name[:longest].rstrip("._-+") + "-" + hashlib.blake2b((meaning or name).encode(), digest_size=4).hexdigest()


def _named(variable: str) -> Path | None:
    """The folder that a variable of the environment names, if it is set; ~ is the home folder."""
    named = os.environ.get(variable)
    return Path(os.path.expanduser(named)) if named else None
