"""The runs on W&B: saving workspaces, sending offline runs, and the terminal view, which needs no account.

Calls no internals of W&B's packages.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import wandb
import wandb_workspaces.workspaces as ws

from bnrepro import store
from bnrepro.errors import ConfigError, StoreError, UserError

NO_RUNS = (
    "no W&B runs in {folder}. make reproduce PROFILE=smoke writes some in two minutes; runs with wandb=disabled and "
    "runs from make restore have none."
)
NO_LOGIN = (
    "not logged in to W&B: `.venv/bin/wandb login` once, or set WANDB_API_KEY; then call again. Without an account, "
    "make dashboard shows the same runs in the terminal. Nothing was sent, and the offline runs are unchanged."
)


# ----------------------------------------------------------------------------------------------- an account


def require_login() -> None:
    """Raise :class:`UserError` unless W&B finds credentials. Prompts for nothing and sends nothing."""
    # In offline mode login() answers False whatever the credentials; unless silent it asks the server for a name.
    wandb.setup(wandb.Settings(mode="online", silent=True))
    try:
        found = wandb.login(prompt=False, verify=False)
    except wandb.Error as error:
        raise UserError(f"{str(error).rstrip('.')}. {NO_LOGIN}") from error
    if not found:
        raise UserError(NO_LOGIN)


def default_entity() -> str:
    """The account's own entity. Raises :class:`ConfigError` if it has none."""
    with _asking():
        entity = wandb.Api().default_entity
    if not entity:
        raise ConfigError("the W&B account has no default entity: name one by --entity")
    return entity


def save(workspace: ws.Workspace) -> str:
    """Save a workspace, in place of the one that an earlier call saved. Returns its address.

    W&B chooses the address of a new workspace. It is kept on this disk, where the next call finds it.
    Raises :class:`UserError` if W&B refuses, :class:`StoreError` if the kept addresses are damaged.
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
    """The workspace at ``address``; None if it is gone, or W&B's library can no longer read it."""
    try:
        return ws.Workspace.from_url(address)
    except ValueError:
        return None


def _addresses(file: Path) -> dict[str, str]:
    """The addresses of the workspaces saved from this disk, by entity, project and name."""
    try:
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    except ValueError as error:
        raise StoreError(f"{file} is damaged ({error}). Without it the workspaces are saved as new ones.") from error


@contextlib.contextmanager
def _asking() -> Iterator[None]:
    """Turn any failure between here and W&B's server into one :class:`UserError`."""
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
    """Raise :class:`UserError` if no run, offline or online, has left a log here."""
    if not any(wandb_folder().glob("*run-*/run-*.wandb")):
        raise UserError(NO_RUNS.format(folder=wandb_folder()))


def is_synced(log: Path) -> bool:
    """Whether ``wandb sync`` has left its mark beside the log."""
    return log.with_name(log.name + ".synced").exists()


def is_unfinished(log: Path) -> bool:
    """Whether the run still trains or was interrupted. If sent now, its later part would never be sent."""
    key = log.stem.removeprefix("run-")
    folders = list((store.outputs_folder() / "runs").glob(f"*/*-{key[:8]}"))
    return bool(folders) and not any(store.RunFolder(folder).is_done() for folder in folders)


@dataclass(frozen=True)
class Sync:
    """Logs sent now, logs sent earlier, and logs of unfinished runs."""

    sent: list[Path]
    earlier: list[Path]
    unfinished: list[Path]


def sync(entity: str, project: str) -> Sync:
    """Send every finished offline run that was not sent before, by ``wandb sync``. Raises :class:`UserError`.

    A resumed run has one log per part. They are sent oldest first, and W&B appends each to the one before.
    """
    require_runs()
    logs = sorted(wandb_folder().glob("offline-run-*/run-*.wandb"))
    earlier = [log for log in logs if is_synced(log)]
    unfinished = [log for log in logs if log not in earlier and is_unfinished(log)]
    waiting = [log for log in logs if log not in earlier and log not in unfinished]
    if waiting:
        subprocess.run(sync_command(entity, project, waiting), check=False)
    left = [log for log in waiting if not is_synced(log)]
    if left:
        raise UserError(
            f"{len(left)} of {len(waiting)} runs were not sent, among them {left[0].parent.name}; W&B's messages above "
            "say why. Call again: runs that were sent are skipped."
        )
    return Sync(waiting, earlier, unfinished)


def sync_command(entity: str, project: str, logs: Sequence[Path]) -> list[str]:
    command = [sys.executable, "-m", "wandb", "sync", "--project", project, "--entity", entity]
    return [*command, *map(str, logs)]


def terminal() -> int:
    """Show this disk's runs in the terminal by ``wandb leet``, without account or network. Returns its exit code."""
    require_runs()
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UserError(
            "the dashboard needs a terminal. As text: "
            f".venv/bin/wandb leet inspect --summary {wandb_folder() / 'latest-run'}"
        )
    return subprocess.run([sys.executable, "-m", "wandb", "leet", str(wandb_folder())], check=False).returncode
