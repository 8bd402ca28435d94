"""A results folder with a small made-up map, an identity with its figure, and the page of both."""

from __future__ import annotations

import shutil
from pathlib import Path

import mapping
import pytest
from fabricated import vouch
from mapping import IDENTITY, RATES, SCALES

from bnrepro import store
from bnrepro.report import judge, page
from bnrepro.report.judge import Found
from bnrepro.tables import Results


@pytest.fixture(scope="session")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What was judged in the folder."""
    folder = tmp_path_factory.mktemp("results")
    mapping.on_disk(folder, mapping.made(scales=SCALES, rates=RATES, seeds=(0, 1, 2)))
    committed = store.REPOSITORY / "results"
    (folder / "figures").mkdir()
    for path in [*(committed / "tables").glob(f"{IDENTITY}.*"), *(committed / "tables").glob("comparison.*")]:
        shutil.copy(path, folder / "tables")
    for path in [*(committed / "figures").glob(f"{IDENTITY}*.svg"), committed / "figures" / "comparison.svg"]:
        shutil.copy(path, folder / "figures")
    vouch(folder)
    return judge.judge(Results(folder))


@pytest.fixture(scope="session")
def made(found: Found) -> Path:
    """The folder; its page has been written."""
    return page.write(found).parent


@pytest.fixture(scope="session")
def html(made: Path) -> str:
    """The page."""
    return (made / page.NAME).read_text(encoding="utf-8")
