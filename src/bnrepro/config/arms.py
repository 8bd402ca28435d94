"""Named arms: the values that a name in ``configs/arm`` stands for, and overrides that would make it lie."""

from __future__ import annotations

import functools
from typing import Any

from omegaconf import OmegaConf

from bnrepro import store


def contradictions(arm: str, flat: dict[str, Any], norm: str) -> list[str]:
    """What in a resolved configuration (``flat``: dotted key → value) is not what ``arm`` says; one line each.

    An arm that is not in ``configs/arm`` is a user's own, and says what its author wants.
    """
    if not (store.configs_folder() / "arm" / f"{arm}.yaml").exists():
        return []
    faults = []
    for key, declared in declares(arm).items():
        found = norm if key == "norm" else flat.get(key)
        if found != declared:
            faults.append(
                f"{key}={found} contradicts arm={arm}, which stands for {key}={declared}: leave one of them out"
            )
    return faults


@functools.lru_cache(maxsize=64)
def declares(arm: str) -> dict[str, Any]:
    """Dotted key → value of everything that the file of ``arm`` sets, files that it builds on included; ``norm`` is
    the choice of that group."""
    tree = OmegaConf.to_container(OmegaConf.load(store.configs_folder() / "arm" / f"{arm}.yaml"))
    assert isinstance(tree, dict)
    values: dict[str, Any] = {}
    for entry in tree.pop("defaults", []):
        if isinstance(entry, dict):
            values |= {key.removeprefix("override /"): choice for key, choice in entry.items()}
        elif entry != "_self_":
            values |= declares(entry)
    for key, value in tree.items():
        nested = value if isinstance(value, dict) else {"": value}
        values |= {f"{key}.{name}".rstrip("."): item for name, item in nested.items()}
    return values
