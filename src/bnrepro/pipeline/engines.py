"""Which engine trains the runs of a request, and why: what `reproduce --plan` prints."""

from __future__ import annotations

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bnrepro.config.checks import unstackable
from bnrepro.config.compose import Composer
from bnrepro.config.identity import arm_label
from bnrepro.pipeline.plan import Plan, Request
from bnrepro.runs import engines
from bnrepro.runs.planned import Planned


def print_engines(request: Request, console: Console) -> None:
    """Print engine and reason of every run of ``request``, and how many runs could be stacked.

    Nothing is trained. Raises :class:`~bnrepro.errors.UserError`.
    """
    with Composer(request.config_dir) as composer:
        plan = Plan(composer, request, console)
    shown = Table(title="what trains every run", title_justify="left", box=SIMPLE)
    for column in ("experiment", "arm"):
        shown.add_column(column, overflow="fold")
    for column in ("runs", "done"):
        shown.add_column(column, justify="right", no_wrap=True)
    shown.add_column("engine", no_wrap=True)
    shown.add_column("why", overflow="fold")
    for name, items in plan.runs.items():
        for place, (engine, why) in enumerate(dict.fromkeys(map(_engine, items))):
            same = [item for item in items if _engine(item) == (engine, why)]
            arms = ", ".join(dict.fromkeys(arm_label(item.config) for item in same))
            done = sum(item.folder.is_done() for item in same)
            shown.add_row("" if place else name, arms, str(len(same)), str(done), engine, why)
    console.print(shown)
    everything = [item for items in plan.runs.values() for item in items]
    stackable = sum(not unstackable(item.config) for item in everything)
    share = f" ({stackable / len(everything):.1%})" if everything else ""
    console.print(f"{stackable} of {len(everything)} runs{share} can be stacked", highlight=False)


def _engine(item: Planned) -> tuple[str, str]:
    """What trains a run, and why."""
    config = item.config
    if config.engine == engines.ALONE:
        why = "" if item.folder.is_done() else engines.reason_alone(config)
    else:
        row = engines.row(config)
        why = f"{row.ratio}× the single loop" if row.ratio else "by the table, not measured"
    return f"{config.engine}, {config.device}", why
