"""Substitutes for data that cannot be found or downloaded, and the notice about them: one policy for all scripts."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable
from dataclasses import dataclass

from bnrepro.config.schema import Config
from bnrepro.data.places import speaks
from bnrepro.data.sets import open_dataset
from bnrepro.errors import ConfigError, DataUnavailable

log = logging.getLogger(__name__)
SUBSTITUTE = "digits"
"""The name of results on the bundled digits."""
JPEG_FOLDER = "cifar10_jpeg"
"""A copy of CIFAR-10 as an image folder, below $BNREPRO_DATA or data/."""
JPEG = ("data=image_folder", f"data.root={JPEG_FOLDER}", 'data.title="CIFAR-10 (JPEG q75)"')
"""The same photographs, but not the same bytes; every label says so."""
DIGITS = ("data=digits", "data.train_examples=null", "data.validation_examples=200")
"""All digits, but for a small validation set: they are fewer than some experiments train or validate on."""
ENLARGED = (*DIGITS, "data.enlarge=32", "data.standardize=true", "data.validation_examples=300")
STAND_INS: dict[str, tuple[tuple[str, ...], ...]] = {"mnist": (DIGITS,), "cifar10": (JPEG, ENLARGED)}
"""Overrides that replace a data set, in order of preference."""

Compose = Callable[[tuple[str, ...]], list[Config]]
"""Composes runs with these overrides, placed before the caller's own, which take precedence."""


@dataclass(frozen=True)
class Found:
    """Runs, the overrides ``stand_in`` that replace their data, and the ``reason`` for them.

    ``wanted`` is the data set that is missing.
    """

    configs: list[Config]
    stand_in: tuple[str, ...] = ()
    reason: str = ""
    wanted: str = ""

    @property
    def on_digits(self) -> bool:
        return "data=digits" in self.stand_in

    def notice(self) -> str:
        """The message for the user before such runs are trained."""
        if self.stand_in == JPEG:
            instead = "the JPEG copy of CIFAR-10: every figure and table of these runs says so."
        else:
            instead = (
                "the 1,797 bundled UCI digits (8×8): every figure and table of these runs says so, and the results of "
                "`make reproduce` on them have a folder of their own. The claims are about other data; results on the "
                "digits show that everything works, not whether the paper is right."
            )
        overrides = shlex.join(self.stand_in)
        return (
            f"{self.reason}\n\nContinuing with {instead} (As with {overrides}; data={self.wanted} among the overrides "
            "allows no other data.)\n"
        )


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


def with_data(
    compose: Compose, reasons: Reasons | None = None, first: Callable[[tuple[str, ...]], Config] | None = None
) -> Found:
    """The runs of ``compose``, with a substitute for their data if those are missing.

    The first run decides for all: ``first`` composes it alone, where that is sooner done. Without a substitute, or if
    the caller's own overrides name the data set, the runs stay as they are: opening their data raises the error. Raises
    :class:`DataUnavailable` if the caller's overrides do not fit the substitute.
    """
    reasons, first = reasons or Reasons(), first or (lambda stand_in: compose(stand_in)[0])
    decides = first(())
    wanted = decides.data.name
    if reason := reasons.why_missing(decides):
        for overrides in STAND_INS.get(wanted, ()):
            try:
                instead = first(overrides)
                if instead.data.name != wanted and not reasons.why_missing(instead):
                    return Found(compose(overrides), overrides, reason, wanted)
            except ConfigError as error:
                raise DataUnavailable(f"{reason} {overrides[0]} cannot stand in for it: {error}") from error
    return Found(compose(()))


_told: set[str] = set()


def tell(found: Found, say: Callable[[str], None] = log.warning, again: bool = False) -> None:
    """Say what stands in for what: once in a process, or ``again``."""
    if found.reason and (again or found.reason not in _told) and speaks():
        _told.add(found.reason)
        say(found.notice())


def _why_missing(config: Config) -> str:
    try:
        open_dataset(config.data)
    except DataUnavailable as error:
        return str(error)
    return ""
