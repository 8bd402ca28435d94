"""The W&B workspaces as code.

W&B filters the runs of a workspace as a whole, not by section, so each experiment has a workspace of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

from bnrepro.claims import style

ARM = "JobType"
"""W&B's name for the attribute of a run that holds its arm (see tracking.Tracker)."""


@dataclass(frozen=True)
class View:
    """One workspace: the runs of one experiment, grouped by arm and by ``factors``, keys of their configuration."""

    title: str
    experiment: str
    sections: Callable[[], list[ws.Section]]
    factors: tuple[str, ...] = ()


def build(entity: str, project: str, profile: str) -> list[ws.Workspace]:
    """Every view as a workspace of the runs of ``profile``. Needs no network."""
    return [_workspace(view, entity, project, profile) for view in VIEWS]


def described(value: Any) -> Any:
    """A workspace, or any part of it, as plain values: its type and those public attributes that are set."""
    if isinstance(value, (list, tuple)):
        return [described(each) for each in value]
    if not dataclasses.is_dataclass(value):
        return value
    found = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.name[0] != "_"}
    given = {name: described(each) for name, each in found.items() if each is not None}
    return {"type": type(value).__name__, **given}


def _workspace(view: View, entity: str, project: str, profile: str) -> ws.Workspace:
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"{view.title} ({profile})",
        sections=view.sections(),
        settings=ws.WorkspaceSettings(x_axis="step", max_runs=100),
        runset_settings=ws.RunsetSettings(
            filters=ws.And(ws.Metric("Group").isin([view.experiment]), ws.Tags().isin([profile])),
            groupby=[ws.Metric(ARM), *(ws.Config(key) for key in view.factors)],
            group_colors={**style.COLOURS},
        ),
    )


def _curves(title: str, *metrics: str, by_arm: bool = True, **options: Any) -> wr.LinePlot:
    """The median over the seeds of each group, with a band from the smallest to the largest, as in the figures.

    A panel groups by one key at most. Without ``by_arm`` the workspace's own groups hold.
    """
    return wr.LinePlot(
        title=title,
        x="step",
        y=list(metrics),
        title_x="training steps",
        groupby=wr.Metric(ARM) if by_arm else None,
        groupby_aggfunc="median",
        groupby_rangefunc="minmax",
        max_runs_to_show=100,
        **options,
    )


def _section(name: str, *panels: Any) -> ws.Section:
    columns = min(len(panels), 3)
    return ws.Section(
        name=name,
        panels=list(panels),
        is_open=True,
        layout_settings=ws.SectionLayoutSettings(columns=columns, rows=-(-len(panels) // columns)),
        panel_settings=ws.SectionPanelSettings(x_axis="step"),
    )


def _figure_1() -> list[ws.Section]:
    percentiles = (15, 50, 85)
    return [
        _section(
            "Fig. 1a: test accuracy",
            _curves("Test accuracy", "test/accuracy", title_y="accuracy", range_y=(0.7, 1.0)),
            _curves("Test accuracy, the last points", "test/accuracy", title_y="accuracy", range_y=(0.95, 0.99)),
        ),
        _section(
            "Training loss",
            _curves("Mini-batch loss since the last evaluation", "train/loss", title_y="nats", log_y=True),
        ),
        _section(
            "Fig. 1b, c: percentiles of the inputs to the last hidden activation",
            _curves("First unit: 15th, 50th, 85th", *(f"inputs/first_p{p}" for p in percentiles)),
            _curves("Median of the units: 15th, 50th, 85th", *(f"inputs/median_p{p}" for p in percentiles)),
        ),
        _section(
            "Histograms of the activations",
            *(
                # Histograms have neither a median nor a band.
                wr.LinePlot(
                    title=f"Hidden layer {layer + 1}: {kind}s", x="step", y=[f"activations/hidden.{layer}.{kind}"]
                )
                for kind in ("input", "output")
                for layer in range(3)
            ),
        ),
    ]


def _learning_rate() -> list[ws.Section]:
    def at_the_end(title: str, metric: str, **options: Any) -> wr.ScatterPlot:
        return wr.ScatterPlot(
            title=title, x=wr.Config("optimizer.lr"), y=wr.SummaryMetric(metric), log_x=True, **options
        )

    return [
        _section(
            "Learning-rate sweep",
            at_the_end("Last test accuracy against the learning rate", "test/accuracy"),
            at_the_end("Last training loss against the learning rate", "train/loss", log_y=True),
            _curves("Test accuracy", "test/accuracy", by_arm=False, title_y="accuracy"),
        )
    ]


def _inception() -> list[ws.Section]:
    return [
        _section(
            "Inception arms",
            _curves("Test accuracy", "test/accuracy", title_y="accuracy"),
            _curves("Validation accuracy", "validation/accuracy", title_y="accuracy"),
            _curves("Training loss", "train/loss", title_y="nats", log_y=True),
        )
    ]


VIEWS = (
    View("Fig. 1: MNIST", "mnist_training", _figure_1),
    View("Learning-rate sweep", "learning_rate", _learning_rate, ("model.activation", "optimizer.lr")),
    View("Figs. 2 and 3: Inception", "inception_training", _inception),
)
