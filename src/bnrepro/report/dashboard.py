"""The runs on W&B: workspaces as code, the upload of offline runs, and their terminal view, which needs no account.

A workspace of W&B filters its runs as a whole, not by section, so each experiment has one of its own. Nothing here
calls an internal of W&B's packages.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import wandb
import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

from bnrepro import store
from bnrepro.claims import style
from bnrepro.errors import ConfigError, StoreError, UserError

ARM = "JobType"
"""W&B's name for the attribute of a run that holds its arm (see tracking.Tracker)."""
NO_RUNS = (
    "no W&B runs in {folder}. make reproduce PROFILE=smoke writes some in two minutes; runs with wandb=disabled, and "
    "those brought back by make restore, have none."
)
NO_LOGIN = (
    "not logged in to W&B: `.venv/bin/wandb login` once, or set WANDB_API_KEY; then call again. Without an account, "
    "make dashboard shows the same runs in the terminal. Nothing was sent; the offline runs are as they were."
)


# ------------------------------------------------------------------------------------------------- as code


@dataclass(frozen=True)
class View:
    """One workspace: the runs of one experiment, grouped by arm and by ``factors``, keys of their configuration."""

    title: str
    experiment: str
    sections: Callable[[], list[ws.Section]]
    factors: tuple[str, ...] = ()


def workspaces(entity: str, project: str, profile: str) -> list[ws.Workspace]:
    """Every view as a workspace, built without a network. ``profile`` picks the runs."""
    return [_workspace(view, entity, project, profile) for view in VIEWS]


def described(value: Any) -> Any:
    """A workspace, or any part of it, as plain values: its type and the public attributes that are set."""
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


# ----------------------------------------------------------------------------------------------- an account


def require_login() -> None:
    """Raise :class:`UserError` unless W&B finds credentials. Asks nobody and sends nothing."""
    # In offline mode login() answers False whatever the credentials, and unless silent it asks the server for a name.
    wandb.setup(wandb.Settings(mode="online", silent=True))
    try:
        found = wandb.login(prompt=False, verify=False)
    except wandb.Error as error:
        raise UserError(f"{str(error).rstrip('.')}. {NO_LOGIN}") from error
    if not found:
        raise UserError(NO_LOGIN)


def default_entity() -> str:
    """The account's own entity."""
    with _asking():
        entity = wandb.Api().default_entity
    if not entity:
        raise ConfigError("the W&B account has no default entity: name one by --entity")
    return entity


def save(workspace: ws.Workspace) -> str:
    """Save a workspace in the place of what an earlier call saved; returns its address.

    W&B gives a new workspace an address of its own choice. It is kept on this disk, where the next call finds it.
    """
    file = wandb_folder() / "workspaces.json"
    kept = _addresses(file)
    key = f"{workspace.entity}/{workspace.project}/{workspace.name}"
    with _asking():
        earlier = _at(kept[key]) if key in kept else None
        if earlier is not None:
            earlier.name, earlier.sections = workspace.name, workspace.sections
            earlier.settings, earlier.runset_settings = workspace.settings, workspace.runset_settings
            workspace = earlier
        workspace.save()
        kept[key] = workspace.url
    store.write_atomic(file, json.dumps(kept, indent=1, sort_keys=True) + "\n")
    return kept[key]


def _at(address: str) -> ws.Workspace | None:
    """The workspace at ``address``, None if it is gone or W&B's library cannot read it any more."""
    try:
        return ws.Workspace.from_url(address)
    except ValueError:
        return None


def _addresses(file: Path) -> dict[str, str]:
    """The address of every workspace that was saved from this disk, by entity, project and name."""
    try:
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    except ValueError as error:
        raise StoreError(f"{file} is damaged ({error}). Without it the workspaces are saved as new ones.") from error


@contextlib.contextmanager
def _asking() -> Iterator[None]:
    """Turn whatever goes wrong between here and W&B's server into one message."""
    try:
        yield
    except Exception as error:
        text = str(error).strip() or type(error).__name__
        raise UserError(
            f"W&B did not take it ({text.splitlines()[0]}). What was sent stays sent; call again."
        ) from error


# --------------------------------------------------------------------------------------------- offline runs


def wandb_folder() -> Path:
    return store.outputs_folder() / "wandb"


def require_runs() -> None:
    """Raise :class:`UserError` if neither an offline nor an online run has left a log here."""
    if not any(wandb_folder().glob("*run-*/run-*.wandb")):
        raise UserError(NO_RUNS.format(folder=wandb_folder()))


def is_synced(log: Path) -> bool:
    """Whether ``wandb sync`` has left its mark beside the log."""
    return log.with_name(log.name + ".synced").exists()


def is_unfinished(log: Path) -> bool:
    """Whether the run still trains, or was interrupted. W&B would mark it as sent, and what follows would be lost."""
    key = log.stem.removeprefix("run-")
    folders = list((store.outputs_folder() / "runs").glob(f"*/*-{key[:8]}"))
    return bool(folders) and not any(store.RunFolder(folder).is_done() for folder in folders)


@dataclass(frozen=True)
class Sync:
    """Logs sent now, logs sent before, and logs of runs that have not come to their end."""

    sent: list[Path]
    earlier: list[Path]
    unfinished: list[Path]


def sync(entity: str, project: str) -> Sync:
    """Send every finished offline run that has not been sent, by ``wandb sync``; raises :class:`UserError`.

    A resumed run has a log for each part. They are sent in order, the oldest first; W&B appends each to the last.
    """
    require_runs()
    logs = sorted(wandb_folder().glob("offline-run-*/run-*.wandb"))
    earlier = [log for log in logs if is_synced(log)]
    unfinished = [log for log in logs if not is_synced(log) and is_unfinished(log)]
    waiting = [log for log in logs if log not in set(earlier) | set(unfinished)]
    if waiting:
        subprocess.run(sync_command(entity, project, waiting), check=False)
    left = [log for log in waiting if not is_synced(log)]
    if left:
        raise UserError(
            f"{len(left)} of {len(waiting)} runs were not sent, among them {left[0].parent.name}: what went wrong "
            "stands above. Call again: those that were sent are skipped."
        )
    return Sync(waiting, earlier, unfinished)


def sync_command(entity: str, project: str, logs: Sequence[Path]) -> list[str]:
    command = [sys.executable, "-m", "wandb", "sync", "--project", project, "--entity", entity]
    return [*command, *map(str, logs)]


def terminal() -> int:
    """Open the runs of this disk in the terminal by ``wandb leet``; its exit code. Needs no account and no network."""
    require_runs()
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UserError(
            "the dashboard needs a terminal. As text: "
            f".venv/bin/wandb leet inspect --summary {wandb_folder() / 'latest-run'}"
        )
    return subprocess.run([sys.executable, "-m", "wandb", "leet", str(wandb_folder())], check=False).returncode
