"""Which engine trains a run: a committed table says it, never a measurement while training.

``engines.csv`` beside this file is written by ``python -m benchmarks engines``. Its ``width`` is that of a block, 1
where the single loop is the faster one; ``norm`` is the class of the normaliser, * any other; ``ratio`` is the speed of
the fleet over that of the single loop, empty where it has not been measured.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from bnrepro import data, store
from bnrepro.config.checks import unstackable
from bnrepro.config.identity import CODE_EPOCH, is_own, source_of
from bnrepro.config.schema import Config
from bnrepro.store.files import digest
from bnrepro.store.refusals import reading
from bnrepro.training.fleet import shape
from bnrepro.training.fleet.trial import refusal

ALONE = "single"
"""The engine that trains one run at a time."""
ANY = "*"
TABLE = Path(__file__).with_suffix(".csv")


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    width: int
    ratio: str


def candidates(config: Config, together: bool, devices: Sequence[str] = ()) -> list[Config]:
    """The run on each engine and device that may train it or have trained it, the one that should first."""
    found = []
    for device in devices or [config.device]:
        here = config if device == config.device else replace(config, device=device)
        if config.engine != ALONE or reason_alone(here):
            found.append(here)
            continue
        # A run that trains in a fleet because the table says so, and one that is alone in its call.
        fleet = replace(here, engine=f"fleet-{row(here).width}")
        found += [fleet, here] if together else [here, fleet]
    return found


def reason_alone(config: Config) -> str:
    """Why such runs train alone; empty if they train in a fleet."""
    if not config.fleet.enabled:
        return "fleet.enabled=false"
    if found := unstackable(config):
        return found
    known = row(config)
    if known.width == 1:
        return "the single loop is faster" + (f": a fleet does {known.ratio}×" if known.ratio else "")
    if not is_own(config.norm) or (config.device == "cuda" and not torch.cuda.is_available()):
        return ""  # what a card that is not here has trained may be of either engine
    return _tried(config)


def places(engine: str) -> int:
    """The width of the block that ``engine`` names."""
    return int(engine.removeprefix("fleet-"))


def row(config: Config) -> Row:
    """What the table says of such runs, by device, model and norm."""
    norm = str(config.norm.get("_target_", "none")).rpartition(".")[2]
    known = _rows()
    kinds = ((config.device, config.model.name, name) for name in (norm, ANY))
    return next((known[kind] for kind in kinds if kind in known), Row(1, ""))


@functools.lru_cache(maxsize=1)
def _rows() -> dict[tuple[str, str, str], Row]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return {
            (line["device"], line["model"], line["norm"]): Row(int(line["width"]), line["ratio"])
            for line in csv.DictReader(file)
        }


# ------------------------------------------------------------------------------------------- own normalisers


_found: dict[str, str] = {}
"""What this process knows of trials already."""


def _tried(config: Config) -> str:
    """What :func:`~bnrepro.training.fleet.trial.refusal` finds for a user's own normaliser.

    The outputs folder remembers it by the source of the class: a trial takes a second, that of an Inception twenty.
    """
    on_cpu = replace(config, device="cpu")  # what vmap refuses, or counts wrongly, is the same on a card
    identity = [str(CODE_EPOCH), torch.__version__, shape(on_cpu), str(source_of(config.norm))]
    name = digest("\n".join(identity).encode())
    if name not in _found:
        _found[name] = _kept(store.outputs_folder() / "cache" / "fleet-trials" / name, on_cpu)
    return _found[name]


def _kept(file: Path, config: Config) -> str:
    with reading(file):
        if file.exists():
            return file.read_text(encoding="utf-8")
    found = refusal(config, data.load(config.data))
    store.write_atomic(file, found)
    return found
