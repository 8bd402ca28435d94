"""Substitutes for data that cannot be found or downloaded, and the notice about them: one policy for all scripts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bnrepro.config.schema import Config
from bnrepro.data.sets import load
from bnrepro.errors import DataUnavailable

SUBSTITUTE = "digits"
"""The name of results on the bundled digits."""
JPEG_FOLDER = "cifar10_jpeg"
"""A copy of CIFAR-10 as an image folder, below $BNREPRO_DATA or data/."""
JPEG = ("data=image_folder", f"data.root={JPEG_FOLDER}", 'data.title="CIFAR-10 (JPEG q75)"')
"""The same photographs, but not the same bytes; every label says so."""
DIGITS = ("data=digits", "data.train_examples=null")
"""All digits: they are fewer than the subsets on which some experiments train."""
ENLARGED = (*DIGITS, "data.enlarge=32", "data.standardize=true", "data.validation_examples=300")
STAND_INS: dict[str, tuple[tuple[str, ...], ...]] = {"mnist": (DIGITS,), "cifar10": (JPEG, ENLARGED)}
"""Overrides that replace a data set, in order of preference."""

Compose = Callable[[tuple[str, ...]], list[Config]]
"""Composes runs with these overrides, placed before the caller's own, which take precedence."""


@dataclass(frozen=True)
class Found:
    """Runs, the overrides ``stand_in`` that replace their data, and the ``reason`` for them."""

    configs: list[Config]
    stand_in: tuple[str, ...] = ()
    reason: str = ""

    @property
    def on_digits(self) -> bool:
        return "data=digits" in self.stand_in

    def notice(self) -> str:
        """The message for the user before such runs are trained."""
        if self.stand_in == JPEG:
            instead = "Continuing with the JPEG copy of CIFAR-10: every figure and table of these runs says so.\n"
        else:
            instead = (
                "Continuing with the 1,797 bundled UCI digits (8×8): every figure and table of these runs says so, and "
                "the results of this call have a folder of their own. The claims are about other data; the results "
                "below show that everything works, not whether the paper is right.\n"
            )
        return f"{self.reason}\n\n{instead}"


class Reasons:
    """Why data sets are missing. Each is looked for once, so that a failed download is not repeated."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def why_missing(self, config: Config) -> str:
        """Why the data of ``config`` are missing; empty if they are not."""
        name = config.data.name
        if name == "image_folder":  # different calls may name different folders
            return _why_missing(config)
        if name not in self._known:
            self._known[name] = _why_missing(config)
        return self._known[name]


def with_data(compose: Compose, reasons: Reasons | None = None) -> Found:
    """The runs of ``compose``, with a substitute for their data if those are missing.

    If there is no substitute either, opening the data of the runs raises the error.
    """
    reasons = reasons or Reasons()
    configs = compose(())
    reason = reasons.why_missing(configs[0])
    if not reason:
        return Found(configs)
    found = Found(configs)
    for overrides in STAND_INS.get(configs[0].data.name, ()):
        found = Found(compose(overrides), overrides, reason)
        if not reasons.why_missing(found.configs[0]):
            break
    return found


def _why_missing(config: Config) -> str:
    try:
        load(config.data)
    except DataUnavailable as error:
        return str(error)
    return ""
