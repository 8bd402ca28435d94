"""The page: every claim, and the map to move over, in one HTML file that opens from disk."""

from __future__ import annotations

from bnrepro.report.page.build import NAME, write
