"""The claims asked of several normalisers, side by side: :mod:`.rules` declares the margins, :mod:`.rows` asks."""

from __future__ import annotations

from bnrepro.claims.comparison.rows import EXPERIMENTS, ROWS, Row

__all__ = ["EXPERIMENTS", "ROWS", "Row"]
