"""Named random generators, all derived from a run's one seed.

Each purpose (a layer's initial weights, the order of examples, …) draws from a generator of its own, so that two
arms of one seed share everything that they have in common, whatever else each of them draws.
torch's global generator belongs to the layers that draw during training (dropout, a user's own layer).
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
