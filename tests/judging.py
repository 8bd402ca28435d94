"""What the tests of the measurements share: a verdict on a table that was made by hand."""

from __future__ import annotations

import importlib
from types import SimpleNamespace

import pandas as pd

from bnrepro.claims.claim import Judgement
from bnrepro.tables import Measured


def judge(name: str, frame: pd.DataFrame, treatment: str = "batch") -> Judgement:
    """The verdict of the measurement's one claim on a table that was not stored, where nothing else has been run."""
    [claim] = importlib.import_module(f"bnrepro.claims.{name}").DECLARED.claims
    found = SimpleNamespace(
        measured=lambda asked: Measured(asked, frame, pd.Series()), tables=lambda asked: None, treatment=treatment
    )
    return claim.judge(found)
