"""Everything from one call: plan all experiments of a profile, train what is missing, then tables, figures, report."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bnrepro import data, store, tables
from bnrepro.claims import EXPERIMENTS, asked_of
from bnrepro.config.compose import Composer, experiments
from bnrepro.config.identity import NOT_SCIENTIFIC
from bnrepro.config.schema import Config
from bnrepro.errors import ConfigError, DataUnavailable, NetworksMissing, UserError
from bnrepro.measurements import base as measure
from bnrepro.measurements.base import Measurement, measurements
from bnrepro.report import comparison, judge, markdown
from bnrepro.runs import engine, run
from bnrepro.runs.run import Planned

SUBSTITUTE = "digits"
JPEG = ("data=image_folder", "data.root=cifar10_jpeg", 'data.title="CIFAR-10 (JPEG q75)"')
"""A copy of CIFAR-10 as an image folder: the same photographs, not the same bytes, and every label says so."""
SUBSTITUTED = ("data=digits", "data.train_examples=null")
"""What is overridden then: the digits are too few for the subsets that some experiments train on."""
ENLARGED = (*SUBSTITUTED, "data.enlarge=32", "data.standardize=true", "data.validation_examples=300")
STAND_INS: dict[str, tuple[tuple[str, ...], ...]] = {"mnist": (SUBSTITUTED,), "cifar10": (JPEG, ENLARGED)}
"""What stands in for data that are nowhere to be had, in this order."""


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


def reproduce(request: Request, console: Console) -> Path:
    """Train what is missing, write tables, figures and report, print the verdicts. Returns the results folder.

    Raises :class:`UserError`; what is finished by then stays, and the next call goes on.
    """
    names = _names(request)
    with Composer(request.config_dir) as composer:
        # What measurements work on is looked at too, whether or not it is to be trained: its data may be stood in for.
        seen, stand_ins = planned_runs(composer, _with_needs(names), request, console)
        planned = {name: items for name, items in seen.items() if name in names}
        substitute = SUBSTITUTE if any("data=digits" in overrides for overrides in stand_ins.values()) else None
        everything = [item for items in planned.values() for item in items]
        if request.train:
            outcome = engine.train_all(everything, request.jobs, console)
        else:
            outcome = engine.Outcome()
            missing_runs = sum(not item.folder.is_done() for item in everything)
            console.print(f"{len(everything)} runs: {missing_runs} are not there, and are left out", highlight=False)
        measured = _measure(composer, names, request, stand_ins, console, outcome.errors)

    changes = _as_folder(request.overrides)
    folder = store.results_folder(request.profile, "+".join([request.treatment, *changes]), substitute)
    own = store.results_folder(request.profile, "+".join(["batch", *changes]), substitute)
    for name, items in planned.items():
        _write_tables(name, [item.folder for item in items], folder, console)
    for item in measured:
        tables.write_measurement(item.folder, folder)
    found = markdown.publish(folder, request.treatment, request.profile, own if folder != own else None)
    judge.print_verdicts(found, console)
    _print_exam(folder, own, request, console)
    console.print(
        f"figures: {_near(folder / 'figures')}\nreport:  {_near(folder / 'REPORT.md')}", highlight=False, soft_wrap=True
    )
    if outcome.errors:
        name, message = next(iter(outcome.errors.items()))
        raise UserError(f"{len(outcome.errors)} could not be brought to their end. The first, {name}: {message}")
    return folder


def _common(request: Request) -> list[str]:
    """What every training run of this call has in common."""
    return [f"profile={request.profile}", f"treatment={request.treatment}", *request.overrides]


def _write_tables(name: str, runs: Sequence[store.Run], folder: Path, console: Console) -> None:
    """The tables of an experiment, from those of its ``runs`` that are finished. They stay as they are where they hold
    others of them: those of a fresh clone, say, whose outputs are empty."""
    if kept := tables.held(name, [run for run in runs if not run.is_done()], folder):
        console.print(
            f"{name}: its tables stay as they are, since {len(kept)} of the runs in them are not in the outputs folder "
            "(make restore brings them back, but for those whose networks are kept)",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    else:
        tables.write_experiment(name, [run for run in runs if run.is_done()], folder)


def _measure(
    composer: Composer,
    names: Sequence[str],
    request: Request,
    stand_ins: Mapping[str, Sequence[str]],
    console: Console,
    errors: dict[str, str],
) -> list[Measurement]:
    """The measurements, one after another once nothing else runs, since some of them take times."""
    done = []
    for name in [name for name in names if name in measurements()]:
        try:
            training = [*stand_ins.get(measure.needs(name) or "", ()), *_common(request)]
            item = measure.plan(composer, name, [f"profile={request.profile}"], training)
            if not (request.train or item.folder.is_done()):
                console.print(f"{name} has not been measured here, and is left as it is", highlight=False)
                continue
            if not item.folder.is_done():
                console.print(f"measuring {name}", highlight=False)
            measure.execute(item)
            done.append(item)
        except UserError as error:
            if isinstance(error, NetworksMissing) and not request.train:
                console.print(f"{name} is left as it is: {error}", highlight=False, soft_wrap=True)
            else:
                errors[name] = str(error)
    return done


def _with_needs(names: Sequence[str]) -> list[str]:
    """``names``, and the experiments whose trained networks the measurements among them work on."""
    needed = [measure.needs(name) for name in names if name in measurements()]
    return list(dict.fromkeys([*names, *(name for name in needed if name is not None)]))


def _names(request: Request) -> list[str]:
    unknown = [name for name in request.only if name not in EXPERIMENTS]
    if unknown:
        raise ConfigError(f"no experiment {', '.join(unknown)}: choose from {', '.join(EXPERIMENTS)}")
    return [name for name in asked_of(request.treatment) if not request.only or name in request.only]


def planned_runs(
    composer: Composer, names: Sequence[str], request: Request, console: Console
) -> tuple[dict[str, list[Planned]], dict[str, tuple[str, ...]]]:
    """The runs of every experiment, and what stands in for its data where they are nowhere to be had."""
    swept: dict[str, list[Config]] = {}
    stand_ins: dict[str, tuple[str, ...]] = {}
    reasons: dict[str, str] = {}  # by data set, so that a download that fails is tried once
    for name in [name for name in names if name in experiments()]:
        common = [f"experiment={name}", *_common(request)]
        swept[name] = composer.sweep(common)
        wanted = swept[name][0].data.name
        unseen = wanted not in reasons
        if unseen:
            reasons[wanted] = _missing_data(swept[name][0])
        missing = reasons[wanted]
        for overrides in STAND_INS.get(wanted, ()) if missing else ():
            # Before the call's own overrides, which have the last word.
            swept[name], stand_ins[name] = composer.sweep([common[0], *overrides, *common[1:]]), overrides
            if not _missing_data(swept[name][0]):
                break
        if missing and unseen:
            _say_stand_in(missing, stand_ins.get(name, ()), console)
    return {name: [run.plan(config) for config in configs] for name, configs in swept.items()}, stand_ins


def _missing_data(config: Config) -> str:
    """Why the data of ``config`` are nowhere to be had; empty if they are."""
    try:
        data.load(config.data)
    except DataUnavailable as error:
        return str(error)
    return ""


def _say_stand_in(missing: str, overrides: tuple[str, ...], console: Console) -> None:
    if overrides == JPEG:
        going_on = "Going on with the JPEG copy of CIFAR-10 instead: every figure and table of these runs says so.\n"
    else:
        going_on = (
            "Going on with the 1,797 bundled UCI digits (8×8) instead: every figure and table of these runs says so, "
            "and the results of this call lie in a folder of their own. The claims are about other data; what you see "
            "below shows that everything works, not what the paper says.\n"
        )
    console.print(f"{missing}\n\n{going_on}", highlight=False, soft_wrap=True)


def _as_folder(overrides: Sequence[str]) -> list[str]:
    """What overrides add to the name of the results' folder: only those that change what the runs are."""
    telling = [
        text for text in overrides if text.lstrip("+~").partition("=")[0].partition(".")[0] not in NOT_SCIENTIFIC
    ]
    return ["".join(c if c.isalnum() or c in "._-" else "-" for c in text) for text in telling]


def _print_exam(folder: Path, own: Path, request: Request, console: Console) -> None:
    """Beside the verdicts on a normaliser under exam, those on Batch Normalization."""
    frame = comparison.read(folder) if folder != own else None
    if frame is None:
        return
    comparison.print_side_by_side(frame, console)
    if not (own / "claims.json").exists():
        console.print(
            f"Batch Normalization itself has not been run here: make reproduce PROFILE={request.profile}",
            highlight=False, soft_wrap=True,
        )  # fmt: skip


def _near(path: Path) -> str:
    return os.path.relpath(path)
