"""What stands in for data that can neither be found nor downloaded, and what is then said: one policy for all doors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bnrepro.config.schema import Config
from bnrepro.data.sets import load
from bnrepro.errors import DataUnavailable

SUBSTITUTE = "digits"
"""What results of runs on the bundled digits are called."""
JPEG_FOLDER = "cifar10_jpeg"
"""A copy of CIFAR-10 as an image folder, below $BNREPRO_DATA or data/."""
JPEG = ("data=image_folder", f"data.root={JPEG_FOLDER}", 'data.title="CIFAR-10 (JPEG q75)"')
"""The same photographs, not the same bytes, and every label says so."""
DIGITS = ("data=digits", "data.train_examples=null")
"""The digits are too few for the subsets that some experiments train on."""
ENLARGED = (*DIGITS, "data.enlarge=32", "data.standardize=true", "data.validation_examples=300")
STAND_INS: dict[str, tuple[tuple[str, ...], ...]] = {"mnist": (DIGITS,), "cifar10": (JPEG, ENLARGED)}
"""Overrides that stand in for a data set, the first choice first."""

Compose = Callable[[tuple[str, ...]], list[Config]]
"""Composes runs with these overrides before the call's own, which have the last word."""


@dataclass(frozen=True)
class Found:
    """Runs with data. ``stand_in`` are the overrides that made it so, and ``reason`` says why they were needed."""

    configs: list[Config]
    stand_in: tuple[str, ...] = ()
    reason: str = ""

    @property
    def on_digits(self) -> bool:
        return "data=digits" in self.stand_in

    def notice(self) -> str:
        """What has to be said before such runs are trained."""
        if self.stand_in == JPEG:
            going_on = (
                "Going on with the JPEG copy of CIFAR-10 instead: every figure and table of these runs says so.\n"
            )
        else:
            going_on = (
                "Going on with the 1,797 bundled UCI digits (8×8) instead: every figure and table of these runs says "
                "so, and the results of this call lie in a folder of their own. The claims are about other data; what "
                "you see below shows that everything works, not what the paper says.\n"
            )
        return f"{self.reason}\n\n{going_on}"


class Reasons:
    """Why data sets are missing, each looked for once: a download that fails is not tried again and again."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def why_missing(self, config: Config) -> str:
        """Why the data of ``config`` cannot be had; empty if they can."""
        name = config.data.name
        if name == "image_folder":  # a folder a call: none stands for another
            return _why_missing(config)
        if name not in self._known:
            self._known[name] = _why_missing(config)
        return self._known[name]


def with_data(compose: Compose, reasons: Reasons | None = None) -> Found:
    """The runs of ``compose``, on what stands in for their data where those cannot be had.

    Where nothing can stand in, they are what was asked for, and to open their data raises the error.
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
