"""The workspaces show what the runs log, and only that; the upload sends each run once, and only when it is whole."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import processes
import pytest
import wandb_workspaces.workspaces as ws

from bnrepro.claims.mnist_training.numbers import TYPICAL_UNIT
from bnrepro.config.compose import experiments
from bnrepro.config.schema import Config
from bnrepro.errors import StoreError, UserError
from bnrepro.probes import activations
from bnrepro.report import dashboard, workspaces
from bnrepro.runs import run
from bnrepro.training import tracking

TINY = {
    "mnist_training": ("model.hidden=[8,8,8]", "probes.activations.enabled=true", "probes.activations.examples=50"),
    "learning_rate": (),
    "inception_training": (),
}
"""What makes a run of milliseconds log under the names that an experiment's own runs do."""


def hide_the_users_account(patch: pytest.MonkeyPatch, folder: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_PROJECT", "WANDB_BASE_URL", "WANDB_MODE"):
        patch.delenv(name, raising=False)
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "HOME"):
        patch.setenv(name, str(folder / name))
    patch.setenv("NETRC", str(folder / "netrc"))


@pytest.fixture
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials, no service and no settings of the machine's user."""
    hide_the_users_account(monkeypatch, tmp_path)
    monkeypatch.setattr(tracking, "INIT_TIMEOUT_S", 60)


class Server(http.server.ThreadingHTTPServer):
    """W&B in miniature, on this machine: one account, and the views that are saved, by name."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.views: dict[str, dict[str, str]] = {}
        self.asked_for: list[str] = []
        """The identity under which each view was saved; empty for a new one."""

    def save(self, given: dict[str, str]) -> dict[str, Any]:
        self.asked_for.append(given.get("id", ""))
        view = {"id": given.get("id") or f"id-{len(self.asked_for)}", "name": given["name"]}
        self.views[given["name"]] = {**view, "displayName": given["displayName"], "spec": given["spec"]}
        return {"upsertView": {"view": view, "inserted": True}}

    def find(self, given: dict[str, str]) -> dict[str, Any]:
        found = [{"node": view} for name, view in self.views.items() if name == given["viewName"]]
        return {"project": {"allViews": {"edges": found}}}


class Answer(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        # W&B also reports on itself, in a format of its own.
        asked = json.loads(body) if self.path == "/graphql" else {"query": ""}
        if "upsertView" in asked["query"]:
            data = self.server.save(asked["variables"])
        elif "allViews" in asked["query"]:
            data = self.server.find(asked["variables"])
        else:
            data = {"viewer": {"id": "1", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}}
        answer = json.dumps({"data": data}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving(patch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server, and an account on it."""
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        patch.setenv("WANDB_BASE_URL", server.url)
        patch.setenv("WANDB_API_KEY", "k" * 40)
        yield server
        server.shutdown()


@pytest.fixture
def account(no_account: None, outputs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that knows the caller, and has no views yet."""
    with serving(monkeypatch) as server:
        yield server


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


Views = Callable[..., dict[str, SimpleNamespace]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Views]:
    """``built("quick")``: each workspace by its experiment, as the server gets it: sections, filters, groups."""
    with pytest.MonkeyPatch.context() as patch:
        hide_the_users_account(patch, tmp_path_factory.mktemp("account"))
        with serving(patch) as server:

            @functools.cache
            def views(profile: str = "quick") -> dict[str, SimpleNamespace]:
                server.views.clear()
                for workspace in workspaces.build("me", "here", profile):
                    workspace.save()
                saved = zip(workspaces.VIEWS, server.views.values(), strict=True)
                return {view.experiment: parsed(sent) for view, sent in saved}

            views()  # now: a test may hide the account before it asks
            yield views


def parsed(view: dict[str, str]) -> SimpleNamespace:
    section = json.loads(view["spec"])["section"]
    [runs] = section["runSets"]
    return SimpleNamespace(
        name=view["displayName"],
        sections={
            item["name"]: [SimpleNamespace(kind=panel["viewType"], **panel["config"]) for panel in item["panels"]]
            for item in section["panelBankConfig"]["sections"]
        },
        filters={(item["key"]["section"], item["key"]["name"]): item["value"] for item in runs["filters"]["filters"]},
        ops={item["op"] for item in runs["filters"]["filters"]},
        groups=[(key["section"], key["name"]) for key in runs["grouping"]],
        colours=section["customRunColors"],
    )


def panels(view: SimpleNamespace) -> list[SimpleNamespace]:
    return [panel for section in view.sections.values() for panel in section]


def keys_of(panel: SimpleNamespace) -> list[str]:
    """What a panel asks the history of a run for."""
    if panel.kind == "Scatter Plot":
        return [panel.yAxis.removeprefix("summary:")]
    return [panel.xAxis, *panel.metrics]


# ---------------------------------------------------------------------------------------- what is shown


def test_every_section_is_there(built: Views) -> None:
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
def test_a_workspace_asks_for_what_the_runs_log(
    experiment: str, built: Views, offline: Callable[..., list[dict[str, Any]]]
) -> None:
    view = built()[experiment]
    records = offline(experiment)
    items = [record["history"]["item"] for record in records if record["type"] == "history"]
    logged = {key.removesuffix("._type") for item in items for key in item}
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


def test_curves_are_the_median_of_the_seeds_in_a_band_from_least_to_most(built: Views) -> None:
    for experiment, view in built().items():
        for panel in panels(view):
            if panel.kind == "Run History Line Plot" and "Hidden layer" not in panel.chartTitle:
                assert (panel.groupAgg, panel.groupArea, panel.xAxis) == ("median", "minmax", "step")
                # One key is all a panel can group by: where there are more, the workspace's own groups hold.
                own = getattr(panel, "groupBy", None)
                assert own == ("jobType" if len(view.groups) == 1 else None), experiment


def test_the_sweep_is_drawn_against_the_learning_rate(built: Views) -> None:
    view = built()["learning_rate"]
    scatter = [panel for panel in panels(view) if panel.kind == "Scatter Plot"]
    assert [panel.xAxis for panel in scatter] == ["config:optimizer.value.lr"] * 2
    assert all(panel.xAxisLogScale for panel in scatter)
    assert ("config", "optimizer.value.lr") in view.groups


def test_a_profile_has_workspaces_of_its_own(built: Views) -> None:
    quick, full = built("quick"), built("full")
    names = [view.name for views in (quick, full) for view in views.values()]
    assert len(set(names)) == len(names)
    assert full["mnist_training"].filters[("run", "tags")] == ["full"]
    # == has been seen not to filter on W&B where IN does.
    assert quick["mnist_training"].ops == {"IN"}


def test_arms_have_the_colours_of_the_figures(built: Views) -> None:
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


def save_all(profile: str = "quick") -> list[str]:
    return [dashboard.save(workspace) for workspace in workspaces.build("me", "here", profile)]


def test_a_saved_workspace_is_replaced_by_the_next(account: Server) -> None:
    first = save_all()
    sent = [json.loads(view["spec"])["section"] for view in account.views.values()]
    changed = ws.Workspace.from_url(first[0])
    changed.name, changed.sections, changed.runset_settings = "changed by hand", [], ws.RunsetSettings()
    changed.save()
    assert save_all() == first
    assert account.asked_for == ["", "", "", "id-1", "id-1", "id-2", "id-3"]
    names = [view["displayName"] for view in account.views.values()]
    assert names == [workspace.name for workspace in workspaces.build("me", "here", "quick")]
    for before, view in zip(sent, account.views.values(), strict=True):
        after = json.loads(view["spec"])["section"]
        assert [item["name"] for item in after["panelBankConfig"]["sections"]] == [
            item["name"] for item in before["panelBankConfig"]["sections"]
        ]
        assert (after["runSets"], after["customRunColors"]) == (before["runSets"], before["customRunColors"])


def test_a_profile_replaces_its_own_workspaces_only(account: Server) -> None:
    quick, full = save_all("quick"), save_all("full")
    assert len({*quick, *full}) == len(account.views) == 6
    assert all(address.startswith(f"{account.url}/me/here?nw=") for address in (*quick, *full))
    assert (save_all("quick"), save_all("full")) == (quick, full)


def test_a_workspace_that_is_gone_is_saved_anew(account: Server) -> None:
    first = save_all()
    account.views.clear()
    second = save_all()
    assert not {*first} & {*second}
    assert save_all() == second
    assert len(account.views) == 3


def test_damaged_addresses_are_one_message(account: Server) -> None:
    (file,) = save_all() and dashboard.wandb_folder().iterdir()
    file.write_text(file.read_text()[:-5])
    with pytest.raises(StoreError, match=r"workspaces\.json is damaged"):
        save_all()


def test_a_server_that_refuses_is_one_message(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("no permission\nlong story")

    monkeypatch.setattr(ws.Workspace, "save", refuse)
    with pytest.raises(UserError, match=r"W&B did not take it \(no permission\)") as refused:
        save_all()
    assert "long story" not in str(refused.value)
    assert not outputs.exists()


# ------------------------------------------------------------------------------------------- the command


@pytest.fixture
def call(tmp_path: Path) -> Callable[..., SimpleNamespace]:
    """``call("--dry-run")``: ``scripts/dashboard.py``, its exit code and what it said."""
    return functools.partial(processes.call, tmp_path, "dashboard")


def test_without_an_account_it_says_how_and_sends_nothing(
    logs: Callable[..., Path], no_account: None, call: Callable[..., SimpleNamespace]
) -> None:
    log = logs("e" * 16)
    said = call()
    assert said.code == 2
    assert said.err.startswith("error: not logged in to W&B")
    assert "wandb login" in said.err
    assert "Traceback" not in said.err
    assert not dashboard.is_synced(log)


def test_with_an_account_it_saves_every_workspace_in_offline_mode_too(
    logs: Callable[..., Path], account: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an interpreter of its own, as its user calls it."""
    logs("a" * 16, synced=True)
    monkeypatch.setenv("WANDB_MODE", "offline")
    command = [sys.executable, str(processes.SCRIPTS / "dashboard.py")]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, check=False)
    assert said.returncode == 0, said.stderr
    lines = said.stdout.splitlines()
    assert lines[0] == "runs: 0 sent, 1 sent earlier, 0 not finished yet"
    assert [line.split(": http")[0] for line in lines[1:]] == [view["displayName"] for view in account.views.values()]


def test_a_dry_run_needs_no_account_and_no_runs(no_account: None, call: Callable[..., SimpleNamespace]) -> None:
    said = call("--dry-run", "--profile", "full", "--entity", "me")
    assert said.code == 0, said.err
    views = json.loads(said.out)
    assert [view["name"] for view in views] == [
        "Fig. 1: MNIST (full)", "Learning-rate sweep (full)", "Figs. 2 and 3: Inception (full)",
    ]  # fmt: skip
    assert views[0]["entity"] == "me"
    assert "full" in views[0]["runset_settings"]["filters"]
    [plot, _] = views[0]["sections"][0]["panels"]
    assert (plot["type"], plot["y"], plot["groupby"]) == (
        "LinePlot", ["test/accuracy"], {"type": "Metric", "name": "JobType"},
    )  # fmt: skip
    assert '"_' not in said.out


def test_the_terminal_says_what_is_missing(
    logs: Callable[..., Path], no_account: None, outputs: Path, call: Callable[..., SimpleNamespace]
) -> None:
    said = call("--terminal")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert f"no W&B runs in {outputs / 'wandb'}" in said.err
    assert not outputs.exists()
    logs("f" * 16)
    said = call("--terminal")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "needs a terminal" in said.err


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
