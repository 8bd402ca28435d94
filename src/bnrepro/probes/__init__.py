"""The probes that look inside a network while it trains, one file each.

A probe only reads: it never changes weights, running statistics, modes or random states. Its rows are CSV lines.
"""

from __future__ import annotations

from bnrepro.probes.base import Observation, Probe, forward_on_copies, restoring, watching
from bnrepro.probes.build import build_probes
