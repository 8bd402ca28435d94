"""What a request asks for: the runs of every experiment, on data that can be had, and the measurements."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from bnrepro import store
from bnrepro.arguments import importable
from bnrepro.claims import EXPERIMENTS, Experiment, asked_of, declared
from bnrepro.config.compose import Composer, experiments, measurements
from bnrepro.config.identity import is_scientific
from bnrepro.config.schema import Config
from bnrepro.data import fallback
from bnrepro.data.fallback import Found, Reasons
from bnrepro.errors import ConfigError
from bnrepro.measurements import base as measure
from bnrepro.measurements.base import Measurement
from bnrepro.report import comparison
from bnrepro.runs.planned import Planned
from bnrepro.runs.planned import plan as plan_run

AUTO = "auto"
LONGEST_NAME = 120
"""In characters: what tells a folder of results from the others."""


@dataclass(frozen=True)
class Request:
    """What to reproduce.

    ``only`` names some experiments and measurements, among them a user's own in ``config_dir``, whose claims are asked
    as well if one of them is named; without it, all of this repository's are meant. ``overrides`` are Hydra's and hold
    for every run. Without ``train``, only the runs and measurements that exist are used. ``device`` is where runs are
    trained; with ``auto`` on a CUDA card if there is one, and a run that any device has finished is done.
    """

    profile: str = "quick"
    treatment: str = "batch"
    only: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    config_dir: str | None = None
    jobs: int | None = None
    train: bool = True
    device: str = AUTO

    def own(self) -> list[str]:
        """The experiments in the user's own folder.

        Raises :class:`ConfigError` if one is asked for whose name is taken by this repository, or has a dot: the names
        of tables have dots between their parts.
        """
        found = experiments(Path(self.config_dir)) if self.config_dir is not None else []
        taken = {*experiments(), *measurements(), comparison.NAME}
        for name in [name for name in found if name in self.only]:
            file = f"{self.config_dir}/experiment/{name}.yaml"
            if name in taken:
                raise ConfigError(f"{file}: the name {name} is taken by this repository; give it another one")
            if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
                raise ConfigError(f"{file}: only letters, digits and _ - name an experiment, since it names tables")
        return [name for name in found if name not in taken]

    def own_claims(self) -> Path | None:
        """The user's own folder if an experiment of theirs is asked for: its claims are asked of the results."""
        if self.config_dir is None or all(name in EXPERIMENTS for name in self.only):
            return None
        return importable(self.config_dir)

    def judged(self) -> dict[str, Experiment]:
        """The experiments that the user's own claims judge. Raises :class:`ConfigError` for a claim that is wrong."""
        folder = self.own_claims()
        return {} if folder is None else {name: each for name, each in declared(folder).items() if each.own}

    def names(self) -> list[str]:
        """The experiments and measurements asked for. Raises :class:`ConfigError` for an unknown one."""
        own = list(dict.fromkeys([*self.own(), *self.judged()]))
        known = [*EXPERIMENTS, *own]
        unknown = [name for name in self.only if name not in known]
        if unknown:
            where = "" if self.config_dir else " (your own: --config-dir FOLDER, with FOLDER/experiment/NAME.yaml)"
            raise ConfigError(f"no experiment {', '.join(unknown)}: choose from {', '.join(known)}{where}")
        asked = [name for name in asked_of(self.treatment) if not self.only or name in self.only]
        return asked + [name for name in own if name in self.only]

    def common(self) -> list[str]:
        """The overrides that all training runs of this request share."""
        return [f"profile={self.profile}", f"treatment={self.treatment}", *self.overrides]

    def devices(self) -> tuple[str, ...]:
        """The devices whose runs count, first the one that trains. Raises :class:`ConfigError`."""
        chosen = [text for text in self.overrides if text.lstrip("+").partition("=")[0] == "device"]
        if chosen and self.device != AUTO:
            raise ConfigError(f"--device {self.device} and {chosen[0]}: only one of them")
        if chosen:
            return ()
        cuda = torch.cuda.is_available()
        if self.device == AUTO:
            return ("cuda", "cpu") if cuda else ("cpu", "cuda")
        if self.device == "cuda" and not cuda:
            raise ConfigError("--device cuda: no CUDA device is available; --device auto uses the CPU then")
        return (self.device,)

    def results(self, treatment: str, on_digits: bool) -> Path:
        """The folder for the results of ``treatment``.

        It is one of its own if overrides or a user's own experiments change what the runs are.
        """
        keys = {text: text.lstrip("+~").partition("=")[0] for text in self.overrides}
        # The name of an arm is no part of a run's identity, but other arms are other runs.
        changing = [text for text, key in keys.items() if key == "arm" or is_scientific(key)]
        changing += [name for name in self.names() if name not in EXPERIMENTS]  # not among the committed results
        named = "+".join(treatment if text is treatment else _safe(_located(text)) for text in (treatment, *changing))
        substitute = fallback.SUBSTITUTE if on_digits else None
        return store.results_folder(self.profile, store.short(named, LONGEST_NAME), substitute)


def _safe(text: str) -> str:
    """An override as a part of a folder's name."""
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in text)


def _located(text: str) -> str:
    """An override with the whole path of the images that it names: ``.`` is another folder elsewhere."""
    key, _, value = text.partition("=")
    return f"{key}={Path(value).expanduser().resolve()}" if key.lstrip("+") == "data.root" else text


class Plan:
    """The runs and measurements of a request.

    ``names`` are the experiments and measurements asked for. ``runs`` holds the runs to train, by experiment. ``found``
    also holds the experiments whose networks a measurement uses: they are not trained, but something may stand in for
    their data. Planning takes seconds, and more where data are decoded or downloaded: with ``first``, these experiments
    are planned at once, and each of the others by :meth:`next`.
    """

    def __init__(self, composer: Composer, request: Request, console: Console, first: Sequence[str] = ()) -> None:
        self.composer, self.request, self.console, self.names = composer, request, console, request.names()
        self.devices = request.devices()
        self.found: dict[str, Found] = {}
        self.runs: dict[str, list[Planned]] = {}
        self._reasons, self._told = Reasons(), set[str]()
        swept = (*experiments(), *self.request.own())
        self._waiting = deque(name for name in dict.fromkeys([*first, *self._with_needs()]) if name in swept)
        while self._waiting and not (first and set(first) <= set(self.found)):
            self.next()

    def next(self) -> tuple[str, list[Planned]] | None:
        """Plan one more experiment of which runs are to be trained. Returns it, with its runs; None after the last."""
        while self._waiting:
            name = self._waiting.popleft()
            found = self.found[name] = self._with_data(name)
            if name in self.names:
                self.runs[name] = [plan_run(config, together=True, devices=self.devices) for config in found.configs]
                return name, self.runs[name]
        return None

    @property
    def results(self) -> Path:
        """The folder for the results, once all is planned: it depends on what stands in for missing data."""
        return self.request.results(self.request.treatment, self.on_digits)

    @property
    def on_digits(self) -> bool:
        return any(found.on_digits for found in self.found.values())

    @property
    def measurements(self) -> list[str]:
        return [name for name in self.names if name in measurements()]

    def measurement(self, name: str, with_networks: bool = True) -> Measurement:
        """A measurement with its identity; see :func:`~bnrepro.measurements.base.plan`."""
        needed = self.found.get(measure.needs(name) or "")
        training = [*(needed.stand_in if needed else ()), *self.request.common()]
        profile = [f"profile={self.request.profile}"]
        return measure.plan(self.composer, name, profile, training, with_networks, self.devices)

    def _with_needs(self) -> list[str]:
        needed = [measure.needs(name) for name in self.measurements]
        return list(dict.fromkeys([*self.names, *(name for name in needed if name is not None)]))

    def _overrides(self, name: str, stand_in: tuple[str, ...]) -> list[str]:
        """Those of an experiment's runs. The request's own come last, and so have the last word."""
        return [f"experiment={name}", *stand_in, *self.request.common()]

    def _with_data(self, name: str) -> Found:
        """The runs of an experiment. What stands in for a missing data set is announced once."""

        def composed(stand_in: tuple[str, ...]) -> list[Config]:
            configs = self.composer.sweep(self._overrides(name, stand_in))
            for config in configs:
                if config.experiment != name:
                    raise ConfigError(
                        f"experiment/{name}.yaml calls its runs `experiment: {config.experiment}`: it must be "
                        f"`experiment: {name}`, as the file"
                    )
            return configs

        found = fallback.with_data(
            composed, self._reasons, lambda stand_in: self.composer.first(self._overrides(name, stand_in))
        )
        if any(config.steps == 0 for config in found.configs):
            raise ConfigError("steps=0: without an update there is nothing to judge; steps must be at least 1")
        if found.reason and found.reason not in self._told:
            self._told.add(found.reason)
            fallback.tell(found, lambda text: self.console.print(text, highlight=False, soft_wrap=True), again=True)
        return found
