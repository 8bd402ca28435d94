"""The workspaces show what the runs log, and only that; the upload sends each run once, and only when it is whole."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb
from wandb_workspaces.workspaces import internal

from bnrepro import store
from bnrepro.claims.mnist_training.numbers import TYPICAL_UNIT
from bnrepro.config.compose import experiments
from bnrepro.config.schema import Config
from bnrepro.errors import UserError
from bnrepro.probes import activations
from bnrepro.report import dashboard
from bnrepro.runs import run
from bnrepro.training import tracking

SCRIPT = str(store.REPOSITORY / "scripts" / "dashboard.py")
TINY = {
    "mnist_training": ("model.hidden=[8,8,8]", "probes.activations.enabled=true", "probes.activations.examples=50"),
    "learning_rate": (),
    "inception_training": (),
}
"""What makes a run of milliseconds log under the names that an experiment's own runs do."""


@pytest.fixture
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials, no service and no settings of the machine's user."""
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setattr(tracking, "INIT_TIMEOUT_S", 60)


@pytest.fixture
def offline(small: Callable[..., Config], no_account: None, outputs: Path) -> Callable[..., list[dict[str, Any]]]:
    """``offline("mnist_training")``: the records of a real offline run, as ``wandb leet inspect`` reads them back."""

    def records(experiment: str) -> list[dict[str, Any]]:
        config = small(*TINY[experiment], "norm=batch")
        config.experiment, config.profile, config.wandb = experiment, "quick", "offline"
        planned = run.plan(config)
        assert run.execute(planned) == "finished"
        [log] = outputs.glob(f"wandb/offline-run-*/run-{planned.key}.wandb")
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(log)]
        found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        return [json.loads(line) for line in found.stdout.splitlines() if line.startswith("{")]

    return records


def built(profile: str = "quick") -> dict[str, SimpleNamespace]:
    """Each workspace by its experiment, from its serialised form: sections, panels, filters and groups."""
    found = {}
    for view, workspace in zip(dashboard.VIEWS, dashboard.workspaces("me", "here", profile), strict=True):
        saved = dashboard.serialised(workspace)
        section = saved["spec"]["section"]
        [runs] = section["runSets"]
        found[view.experiment] = SimpleNamespace(
            name=saved["name"],
            sections={
                item["name"]: [SimpleNamespace(kind=panel["viewType"], **panel["config"]) for panel in item["panels"]]
                for item in section["panelBankConfig"]["sections"]
            },
            filters={
                (item["key"]["section"], item["key"]["name"]): item["value"] for item in runs["filters"]["filters"]
            },
            ops={item["op"] for item in runs["filters"]["filters"]},
            groups=[(key["section"], key["name"]) for key in runs["grouping"]],
            colours=section["customRunColors"],
        )
    return found


def panels(view: SimpleNamespace) -> list[SimpleNamespace]:
    return [panel for section in view.sections.values() for panel in section]


def keys_of(panel: SimpleNamespace) -> list[str]:
    """What a panel asks the history of a run for."""
    if panel.kind == "Scatter Plot":
        return [panel.yAxis.removeprefix("summary:")]
    return [panel.xAxis, *panel.metrics]


# ---------------------------------------------------------------------------------------- what is shown


def test_every_section_is_there() -> None:
    views = built()
    assert {name: list(view.sections) for name, view in views.items()} == {
        "mnist_training": [
            "Fig. 1a: test accuracy",
            "Training loss",
            "Fig. 1b, c: percentiles of the inputs to the last hidden activation",
            "Histograms of the activations",
        ],
        "learning_rate": ["Learning-rate sweep"],
        "inception_training": ["Inception arms"],
    }
    assert set(views) <= set(experiments())
    assert all(section for view in views.values() for section in view.sections.values())


@pytest.mark.parametrize("experiment", TINY)
def test_a_workspace_asks_for_what_the_runs_log(experiment: str, offline: Callable[..., list[dict[str, Any]]]) -> None:
    records = offline(experiment)
    items = [record["history"]["item"] for record in records if record["type"] == "history"]
    logged = {key.removesuffix("._type") for item in items for key in item}
    view = built()[experiment]
    assert {key for panel in panels(view) for key in keys_of(panel)} <= logged
    [started] = [record["run"] for record in records if record["type"] == "run"]
    assert view.filters[("run", "group")] == [started["run_group"]]
    assert view.filters[("run", "tags")] == started["tags"]
    # Grouped by what tells the runs apart: the arm, and keys of the configuration as W&B nests them.
    assert started["job_type"] == "batch"
    assert view.groups[0] == ("run", "jobType")
    for section, name in view.groups[1:]:
        node = started["config"]["update"]
        for part in name.replace(".value", "").split("."):
            node = node[part]
        assert section == "config"
        assert isinstance(node, (str, float, int))


def test_curves_are_the_median_of_the_seeds_in_a_band_from_least_to_most() -> None:
    for experiment, view in built().items():
        for panel in panels(view):
            if panel.kind == "Run History Line Plot" and "Hidden layer" not in panel.chartTitle:
                assert (panel.groupAgg, panel.groupArea, panel.xAxis) == ("median", "minmax", "step")
                # One key is all a panel can group by: where there are more, the workspace's own groups hold.
                own = getattr(panel, "groupBy", None)
                assert own == ("jobType" if len(view.groups) == 1 else None), experiment


def test_the_sweep_is_drawn_against_the_learning_rate() -> None:
    view = built()["learning_rate"]
    scatter = [panel for panel in panels(view) if panel.kind == "Scatter Plot"]
    assert [panel.xAxis for panel in scatter] == ["config:optimizer.value.lr"] * 2
    assert all(panel.xAxisLogScale for panel in scatter)
    assert ("config", "optimizer.value.lr") in view.groups


def test_a_profile_has_workspaces_of_its_own() -> None:
    quick, full = built("quick"), built("full")
    names = [view.name for views in (quick, full) for view in views.values()]
    assert len(set(names)) == len(names)
    assert full["mnist_training"].filters[("run", "tags")] == ["full"]
    # == has been seen not to filter on W&B where IN does.
    assert quick["mnist_training"].ops == {"IN"}


def test_arms_have_the_colours_of_the_figures() -> None:
    colours = built()["inception_training"].colours
    [bn_x30] = [colour for key, colour in colours.items() if "%22bn_x30%22" in key]
    assert bn_x30 == "#009E73"


def test_the_unit_that_is_shown_is_the_unit_of_the_figure() -> None:
    assert activations.UNIT == TYPICAL_UNIT


# --------------------------------------------------------------------------------------------- the upload


@pytest.fixture
def logs(outputs: Path) -> Callable[..., Path]:
    """``logs("aaaa", part=2, synced=True)``: an empty log where W&B would have left it."""

    def make(key: str, part: int = 1, synced: bool = False) -> Path:
        folder = outputs / "wandb" / f"offline-run-20260101_00000{part}-{key}"
        folder.mkdir(parents=True)
        log = folder / f"run-{key}.wandb"
        log.touch()
        if synced:
            log.with_suffix(".wandb.synced").touch()
        return log

    return make


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """In the place of ``wandb sync``: remembers the command, and marks what it is given as W&B does."""
    commands: list[list[str]] = []

    def sync(command: list[str], **_: Any) -> None:
        commands.append(command)
        for log in (Path(item) for item in command if item.endswith(".wandb")):
            if "refused" not in log.name:
                log.with_suffix(".wandb.synced").touch()

    monkeypatch.setattr(dashboard.subprocess, "run", sync)
    return commands


def test_finished_runs_are_sent_once_the_parts_of_one_in_order(
    logs: Callable[..., Path], sent: list[list[str]]
) -> None:
    second, first, old = logs("a" * 16, part=2), logs("a" * 16), logs("b" * 16, synced=True)
    done = dashboard.sync("me", "here")
    assert (done.sent, done.earlier, done.unfinished) == ([first, second], [old], [])
    [command] = sent
    assert command[1:] == ["-m", "wandb", "sync", "--project", "here", "--entity", "me", str(first), str(second)]
    assert dashboard.sync("me", "here").sent == []
    assert len(sent) == 1


def test_a_run_that_is_training_waits(logs: Callable[..., Path], sent: list[list[str]], outputs: Path) -> None:
    log = logs("c" * 16)
    folder = outputs / "runs" / "single" / f"batch-s0-{'c' * 8}"
    folder.mkdir(parents=True)
    assert dashboard.sync("me", "here").unfinished == [log]
    assert sent == []
    (folder / "DONE").write_text("{}")
    assert dashboard.sync("me", "here").sent == [log]


def test_what_was_not_sent_is_said(logs: Callable[..., Path], sent: list[list[str]]) -> None:
    logs("refused"), logs("fine", part=2)
    with pytest.raises(UserError, match="1 of 2 runs were not sent, among them offline-run-20260101_000001-refused"):
        dashboard.sync("me", "here")


def test_the_options_are_those_of_wandb_sync(logs: Callable[..., Path], no_account: None) -> None:
    log = logs("d" * 16)
    command = [*dashboard.sync_command("me", "here", [log]), "--dry-run"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "Would sync 1 run(s)" in said.stdout + said.stderr


def test_a_saved_workspace_is_replaced_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[str, str] = {}
    calls: list[tuple[str, str]] = []

    def upsert(view: internal.View) -> dict[str, Any]:
        calls.append((view.name, view.id))
        kept.setdefault(view.name, f"id-{len(kept)}")
        return {"upsertView": {"view": {"id": kept[view.name], "name": view.name}}}

    def get(entity: str, project: str, address: str) -> dict[str, str]:
        name = internal._url_query_str_to_internal_name(address)
        if name not in kept:
            raise ValueError(f"Workspace `{address}` not found")
        return {"id": kept[name]}

    monkeypatch.setattr(internal, "upsert_view2", upsert)
    monkeypatch.setattr(internal, "get_view_dict", get)
    monkeypatch.setattr(wandb, "Api", lambda: SimpleNamespace(client=SimpleNamespace(app_url="https://wandb.test")))
    for _ in range(2):
        urls = [dashboard.save(workspace) for workspace in dashboard.workspaces("me", "here", "quick")]
    assert urls[0] == "https://wandb.test/me/here?nw=bnreprofig1quick"
    assert [identity for _, identity in calls] == ["", "", "", "id-0", "id-1", "id-2"]


def test_a_server_that_refuses_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("no permission\nlong story")

    monkeypatch.setattr(internal, "get_view_dict", refuse)
    with pytest.raises(UserError, match=r"W&B did not take it \(no permission\)") as refused:
        dashboard.save(dashboard.workspaces("me", "here", "quick")[0])
    assert "long story" not in str(refused.value)


# ------------------------------------------------------------------------------------------- the command


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, check=False)


def test_without_an_account_it_says_how_and_sends_nothing(logs: Callable[..., Path], no_account: None) -> None:
    log = logs("e" * 16)
    said = call()
    assert said.returncode == 2
    assert said.stderr.startswith("error: not logged in to W&B")
    assert "wandb login" in said.stderr
    assert "Traceback" not in said.stderr
    assert not dashboard.is_synced(log)


def test_a_dry_run_needs_no_account_and_no_runs(no_account: None) -> None:
    said = call("--dry-run", "--profile", "full", "--entity", "me")
    assert said.returncode == 0, said.stderr
    assert [view["displayName"] for view in json.loads(said.stdout)] == [
        "Fig. 1: MNIST (full)", "Learning-rate sweep (full)", "Figs. 2 and 3: Inception (full)",
    ]  # fmt: skip


def test_the_terminal_says_what_is_missing(logs: Callable[..., Path], no_account: None, outputs: Path) -> None:
    said = call("--terminal")
    assert (said.returncode, said.stderr.count("\n")) == (2, 1)
    assert f"no W&B runs in {outputs / 'wandb'}" in said.stderr
    assert not outputs.exists()
    logs("f" * 16)
    said = call("--terminal")
    assert (said.returncode, said.stderr.count("\n")) == (2, 1)
    assert "needs a terminal" in said.stderr


def test_a_terminal_shows_the_folder_of_the_runs(
    logs: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, outputs: Path
) -> None:
    logs("a" * 16)
    ours, theirs = pty.openpty()
    commands: list[list[str]] = []
    with os.fdopen(theirs, "r") as screen:
        for name in ("stdin", "stdout"):
            monkeypatch.setattr(sys, name, screen)
        monkeypatch.setattr(
            dashboard.subprocess, "run", lambda command, **_: commands.append(command) or SimpleNamespace(returncode=0)
        )
        code = dashboard.terminal()
        monkeypatch.undo()
    os.close(ours)
    assert code == 0
    assert commands == [[sys.executable, "-m", "wandb", "leet", str(outputs / "wandb")]]
