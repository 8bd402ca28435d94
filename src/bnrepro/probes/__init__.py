"""What is looked at inside a network while it trains, a probe a file.

A probe reads; it never changes weights, running statistics, mode or any random state. Its rows are CSV lines.
"""

from __future__ import annotations

from bnrepro.probes.base import Observation, Probe, watching
from bnrepro.probes.build import build_probes
