"""The page in the user's browser, where there is one."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path

from bnrepro import store
from bnrepro.errors import ConfigError
from bnrepro.report.page import NAME


def newest() -> Path:
    """The page that was written last: of the committed results, or of any profile.

    Raises :class:`ConfigError` where there is none.
    """
    found = [store.committed_results() / NAME, *store.outputs_folder().glob(f"*/{NAME}")]
    there = [path for path in found if path.exists()]
    if not there:
        raise ConfigError("no page yet: make reproduce trains and writes one, make report writes that of the tables")
    return max(there, key=lambda path: path.stat().st_mtime)


def page_in(results: Path) -> Path:
    """The page of a results folder. Raises :class:`ConfigError` where it is missing."""
    if not (results / NAME).exists():
        raise ConfigError(f"no page in {results}: make report ARGS='--results {results}' writes it")
    return results / NAME


def show(page: Path) -> None:
    """Print where the page is, and open it if there is a display."""
    print(page)
    if has_display():
        webbrowser.open(page.resolve().as_uri())


def has_display() -> bool:
    """On Linux and its like a display is named by the environment; on macOS and Windows there is one."""
    return sys.platform in ("darwin", "win32") or bool({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys())
