"""The keys of a configuration that the table of runs holds as columns."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import get_type_hints

from bnrepro.config.schema import MODELS, Config, ModelConfig, key_of


@functools.cache
def recorded_keys() -> dict[str, bool]:
    """By dotted name, every key that the record of a run may hold, and whether that of each run holds it.

    ``norm`` stands for all entries of that open section.
    """
    return dict(_keys(Config, "", True))


def _keys(kind: type, prefix: str, always: bool) -> Iterator[tuple[str, bool]]:
    hints = get_type_hints(kind)
    for place in fields(kind):
        key, inner, name = key_of(place), hints[place.name], f"{prefix}{place.name}"
        held = always and not (key.traceless or key.with_key or key.switched)
        if not key.scientific:
            continue
        if inner is ModelConfig:
            found = [dict(_keys(model, f"{name}.", held)) for model in MODELS.values()]
            every = set.intersection(*map(set, found))
            yield from ((each, keys[each] and each in every) for keys in found for each in keys)
        elif is_dataclass(inner):
            assert isinstance(inner, type)
            yield from _keys(inner, f"{name}.", held)
        else:
            yield name, held
