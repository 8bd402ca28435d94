"""The networks, one module each, and the function that builds them from a configuration."""

from __future__ import annotations

from bnrepro.models.build import build_model, memory_format, parameter_dtype
from bnrepro.models.memory import enough_memory
