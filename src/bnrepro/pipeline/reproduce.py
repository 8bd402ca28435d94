"""Everything in one call: train the missing runs of a profile, measure, and publish each experiment as it ends."""

from __future__ import annotations

import os
from pathlib import Path

from rich.console import Console

from bnrepro.claims import remarks
from bnrepro.config.compose import Composer
from bnrepro.pipeline.plan import Plan, Request
from bnrepro.pipeline.publication import FIRST
from bnrepro.pipeline.stages import Stages, say
from bnrepro.report import comparison, judge
from bnrepro.report.side_by_side import print_side_by_side
from bnrepro.runs import engine


def reproduce(request: Request, console: Console) -> Path:
    """Train what is missing, write tables, figures and report, print the verdicts. Returns the results folder.

    Fig. 1 comes first: its runs are trained while all others are planned. Raises :class:`UserError`. Finished runs and
    measurements are kept, and the next call goes on from them.
    """
    with Composer(request.config_dir) as composer:
        plan = Plan(composer, request, console, [FIRST] if request.train and FIRST in request.names() else ())
        stages = Stages(plan, console)
        outcome = _train(plan, stages, console)
        found = stages.finish()
    outcome.errors |= stages.errors
    folder, own = plan.results, stages.place.beside
    judge.print_verdicts(found, console)
    for text in remarks(found.results):
        say(console, f"{text} (curves and final values: in the report)")
    if own is not None:
        _print_comparison(folder, own, request, console)
    for title, name in (("figures: ", "figures"), ("report:  ", "REPORT.md"), ("page:    ", "index.html")):
        say(console, title + os.path.relpath(folder / name))
    outcome.require_all()
    return folder


def _train(plan: Plan, stages: Stages, console: Console) -> engine.Outcome:
    everything = [item for items in plan.runs.values() for item in items]
    if plan.request.train:
        return engine.train_all(everything, plan.request.jobs, console, stages)
    missing = sum(not item.folder.is_done() for item in everything)
    say(console, f"{len(everything)} runs: {missing} are not there, and are left out")
    return engine.Outcome()


def _print_comparison(folder: Path, own: Path, request: Request, console: Console) -> None:
    """Print the verdicts on another normaliser beside those on Batch Normalization."""
    frame = comparison.read(folder)
    if frame is None:
        return
    print_side_by_side(frame, console)
    if not (own / "claims.json").exists():
        say(console, f"Batch Normalization itself has not been run here: make reproduce PROFILE={request.profile}")
