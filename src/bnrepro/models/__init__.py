"""The networks, a module each, and what builds them from a configuration."""

from __future__ import annotations

from bnrepro.models.build import build_model, memory_format, parameter_dtype
