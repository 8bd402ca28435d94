"""Everything that a profile asks for: the runs of every experiment, on data that are there, and the measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bnrepro import store
from bnrepro.claims import EXPERIMENTS, asked_of
from bnrepro.config.compose import Composer, experiments, measurements
from bnrepro.config.identity import is_scientific
from bnrepro.config.schema import Config
from bnrepro.data import fallback
from bnrepro.data.fallback import Found, Reasons
from bnrepro.errors import ConfigError
from bnrepro.measurements import base as measure
from bnrepro.measurements.base import Measurement
from bnrepro.runs import run
from bnrepro.runs.run import Planned


@dataclass(frozen=True)
class Request:
    """What to reproduce. ``only`` narrows it to some experiments; ``overrides`` are Hydra's, for every one of them."""

    profile: str = "quick"
    treatment: str = "batch"
    only: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    config_dir: str | None = None
    jobs: int | None = None
    train: bool = True
    """False: take the runs and measurements that are there, and say how many are not."""

    def names(self) -> list[str]:
        """The experiments and measurements asked for. Raises :class:`ConfigError` for one that there is not."""
        unknown = [name for name in self.only if name not in EXPERIMENTS]
        if unknown:
            raise ConfigError(f"no experiment {', '.join(unknown)}: choose from {', '.join(EXPERIMENTS)}")
        return [name for name in asked_of(self.treatment) if not self.only or name in self.only]

    def common(self) -> list[str]:
        """What every training run of this call has in common."""
        return [f"profile={self.profile}", f"treatment={self.treatment}", *self.overrides]

    def results(self, treatment: str, on_digits: bool) -> Path:
        """Where the results of ``treatment`` go. Overrides that change what the runs are have a folder of their own."""
        telling = [text for text in self.overrides if is_scientific(text.lstrip("+~").partition("=")[0])]
        changes = ["".join(c if c.isalnum() or c in "._-" else "-" for c in text) for text in telling]
        substitute = fallback.SUBSTITUTE if on_digits else None
        return store.results_folder(self.profile, "+".join([treatment, *changes]), substitute)


class Plan:
    """The runs of a request's experiments. ``found`` also holds those that its measurements work on, which are looked
    at, not trained: something may stand in for their data."""

    def __init__(self, composer: Composer, request: Request, console: Console) -> None:
        self.composer, self.request, self.names = composer, request, request.names()
        self.found = _with_data(composer, self._with_needs(), request, console)
        self.runs: dict[str, list[Planned]] = {
            name: [run.plan(config) for config in found.configs]
            for name, found in self.found.items()
            if name in self.names
        }

    @property
    def on_digits(self) -> bool:
        return any(found.on_digits for found in self.found.values())

    @property
    def measurements(self) -> list[str]:
        return [name for name in self.names if name in measurements()]

    def measurement(self, name: str, with_networks: bool = True) -> Measurement:
        """One of them with its identity; see :func:`~bnrepro.measurements.base.plan`."""
        needed = self.found.get(measure.needs(name) or "")
        training = [*(needed.stand_in if needed else ()), *self.request.common()]
        return measure.plan(self.composer, name, [f"profile={self.request.profile}"], training, with_networks)

    def _with_needs(self) -> list[str]:
        needed = [measure.needs(name) for name in self.measurements]
        return list(dict.fromkeys([*self.names, *(name for name in needed if name is not None)]))


def _with_data(composer: Composer, names: Sequence[str], request: Request, console: Console) -> dict[str, Found]:
    """The runs of every experiment among ``names``; what stands in for their data is said once for each data set."""
    swept: dict[str, Found] = {}
    reasons, told = Reasons(), set[str]()
    for name in [name for name in names if name in experiments()]:

        def composed(stand_in: tuple[str, ...], name: str = name) -> list[Config]:
            # Before the call's own overrides, which have the last word.
            return composer.sweep([f"experiment={name}", *stand_in, *request.common()])

        swept[name] = fallback.with_data(composed, reasons)
        if swept[name].reason and swept[name].reason not in told:
            told.add(swept[name].reason)
            console.print(swept[name].notice(), highlight=False, soft_wrap=True)
    return swept
