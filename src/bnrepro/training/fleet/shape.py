"""Which runs can train as one program: those that differ only in numbers that the stack holds for each place."""

from __future__ import annotations

import json

from bnrepro.config.schema import Config, walk

OWN = (
    "seed", "steps", "shuffle", "model.init", "model.init_scale", "model.first_layer_scale", "engine",
    "evaluation.growth", "evaluation.min_interval", "evaluation.max_interval", "evaluation.whole_test", "data.title",
)  # fmt: skip
OWN_SECTIONS = ("optimizer.", "probes.")
"""Keys, and sections of keys, of which each run of a fleet has its own value."""


def shape(config: Config) -> str:
    """Equal for runs that can train together."""
    keys = {
        name: value for name, key, value in walk(config)
        if (key.scientific or name.startswith("data.")) and name not in OWN and not name.startswith(OWN_SECTIONS)
    }  # fmt: skip
    return json.dumps(keys, sort_keys=True, default=str)
