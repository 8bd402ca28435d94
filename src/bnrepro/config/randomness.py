"""Named random generators, all derived from the one seed of a run.

Each purpose (the initial weights of a layer, the order of the examples, …) has its own generator, so that two arms with
the same seed share what they have in common, whatever else they draw. Layers that draw during training (dropout, a
user's own layer) use torch's global generator.
"""

from __future__ import annotations

import hashlib

import torch


def derive_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed for the purpose ``names`` of the run seeded by ``seed``; stable over Python versions."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *names: str | int) -> torch.Generator:
    """A fresh CPU generator for one purpose, e.g. ``generator(seed, "init", "hidden.0.linear")``."""
    return torch.Generator().manual_seed(derive_seed(seed, *names))
