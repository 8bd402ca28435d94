"""Imports matplotlib, whatever backend ``MPLBACKEND`` names: figures are made without pyplot and saved by Agg.

A name that matplotlib does not know would fail its import. One that it knows is kept, for a notebook's own plots.
"""

from __future__ import annotations

import contextlib
import os
import sys

if "matplotlib" not in sys.modules:
    asked = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        if asked is not None:
            os.environ["MPLBACKEND"] = asked
    if asked is not None:
        with contextlib.suppress(ValueError):
            matplotlib.rcParams["backend"] = asked
