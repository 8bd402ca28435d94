"""Running out of memory, reported in one line that says what to make smaller."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import fields

from torch import nn

from bnrepro.config.schema import Config
from bnrepro.errors import OutOfMemory

SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "Storage size calculation overflowed")
"""PyTorch's allocators say so in a ``RuntimeError``, each in words of its own."""


@contextlib.contextmanager
def enough_memory(config: Config) -> Iterator[None]:
    """Raises :class:`OutOfMemory` where the memory does not suffice for the network of ``config``."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        if not isinstance(error, MemoryError) and not any(sign in text for sign in SIGNS):
            raise
        raise _too_large(config, _asked_for(text)) from error


def _asked_for(text: str) -> str:
    found = re.search(r"[Tt]ried to allocate ([\d.]+) ?([KMGT]i?B|bytes)", text)
    if found is None:
        return ""
    number, unit = found.groups()
    return f"{float(number) / 2**30:.3g} GiB at once" if unit == "bytes" else f"{number} {unit} at once"


def refuse_beyond_memory(config: Config, plain: nn.Module) -> None:
    """Raise :class:`OutOfMemory` if the weights of ``plain`` alone exceed the machine's memory, with their gradients.

    The system would first grant the memory, and kill this process or another one when it is written.
    """
    weights = 4 * sum(parameter.numel() for parameter in plain.parameters())
    needed = weights if config.device == "cuda" else 2 * weights
    if needed > os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"):
        raise _too_large(config, f"{needed / 2**30:.3g} GiB for its weights and their gradients")


def _too_large(config: Config, amount: str) -> OutOfMemory:
    values = {place.name: getattr(config.model, place.name) for place in fields(config.model)}
    sizes = [f"model.{name}" for name, value in values.items() if type(value) in (int, list)]
    return OutOfMemory(
        f"model={config.model.name} needs more memory than there is{amount and f' ({amount})'}: make "
        f"{', '.join(sizes)} or batch_size smaller, or train fewer runs at a time"
    )
