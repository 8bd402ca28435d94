"""Everything in one call: train the missing runs of a profile, measure, then write tables, figures and report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bnrepro import store, tables
from bnrepro.claims import remarks
from bnrepro.config.compose import Composer
from bnrepro.errors import NetworksMissing, UserError
from bnrepro.measurements import base as measure
from bnrepro.measurements.base import Measurement
from bnrepro.pipeline.plan import Plan, Request
from bnrepro.report import comparison, judge, markdown
from bnrepro.runs import engine


def reproduce(request: Request, console: Console) -> Path:
    """Train what is missing, write tables, figures and report, print the verdicts. Returns the results folder.

    Raises :class:`UserError`. Finished runs and measurements are kept, and the next call goes on from them.
    """
    with Composer(request.config_dir) as composer:
        plan = Plan(composer, request, console)
        outcome = _train(plan, console)
        measured = _measure(plan, outcome, console)
    folder, own = (request.results(treatment, plan.on_digits) for treatment in (request.treatment, "batch"))
    with store.alone_in(folder):
        for name, items in plan.runs.items():
            write_tables(name, [item.folder for item in items], folder, console)
        for item in measured:
            tables.write_measurement(item.folder, folder)
        found = markdown.publish(folder, request.treatment, request.profile, own if folder != own else None)
    judge.print_verdicts(found, console)
    for text in remarks(found.results):
        say(console, f"{text} (curves and final values: in the report)")
    if folder != own:
        _print_comparison(folder, own, request, console)
    for title, name in (("figures: ", "figures"), ("report:  ", "REPORT.md")):
        say(console, title + os.path.relpath(folder / name))
    outcome.require_all()
    return folder


def _train(plan: Plan, console: Console) -> engine.Outcome:
    everything = [item for items in plan.runs.values() for item in items]
    if plan.request.train:
        return engine.train_all(everything, plan.request.jobs, console)
    missing = sum(not item.folder.is_done() for item in everything)
    say(console, f"{len(everything)} runs: {missing} are not there, and are left out")
    return engine.Outcome()


def _measure(plan: Plan, outcome: engine.Outcome, console: Console) -> list[Measurement]:
    """Make the measurements one after another, when nothing else runs: some of them measure times."""
    done = []
    for name in plan.measurements:
        try:
            item = plan.measurement(name)
            if not item.folder.is_done():
                if not plan.request.train:
                    say(console, f"{name} has not been measured here, and is left as it is")
                    continue
                say(console, f"measuring {name}")
            measure.execute(item)
            done.append(item)
        except NetworksMissing as error:
            if plan.request.train:
                outcome.errors[name] = str(error)
            else:
                say(console, f"{name} is left as it is: {error}")
        except UserError as error:
            outcome.errors[name] = str(error)
    return done


def write_tables(name: str, runs: Sequence[store.RunFolder], folder: Path, console: Console) -> None:
    """Write an experiment's tables from its finished ``runs``.

    The tables stay as they are if they hold unfinished ones: in a fresh clone they hold runs that its outputs lack.
    """
    if kept := tables.held(name, [run for run in runs if not run.is_done()], folder):
        say(
            console,
            f"{name}: its tables stay as they are, since {len(kept)} of the runs in them are not in the outputs folder "
            "(make restore brings them back, except those whose networks are kept)",
        )
    else:
        tables.write_experiment(name, [run for run in runs if run.is_done()], folder)


def _print_comparison(folder: Path, own: Path, request: Request, console: Console) -> None:
    """Print the verdicts on another normaliser beside those on Batch Normalization."""
    frame = comparison.read(folder)
    if frame is None:
        return
    comparison.print_side_by_side(frame, console)
    if not (own / "claims.json").exists():
        say(console, f"Batch Normalization itself has not been run here: make reproduce PROFILE={request.profile}")


def say(console: Console, text: str) -> None:
    console.print(text, highlight=False, soft_wrap=True)
