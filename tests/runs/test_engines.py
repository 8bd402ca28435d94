"""Which engine trains a run: the committed table says it, and nothing that is measured or counted meanwhile."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest
import torch
from benchmarks.registry import fleet  # with all rows in their order
from benchmarks.rows import Measured

from bnrepro.config.schema import MODELS, Config
from bnrepro.runs import engines, run
from bnrepro.runs.planned import key_of, plan
from bnrepro.store import outputs_folder

Sweep = Callable[..., list[Config]]


@pytest.fixture
def everything_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table in which a fleet is worth while for every network, and a process without memories."""
    monkeypatch.setattr(engines, "_found", {})
    rows = {(device, model, "*"): engines.Row(4, "2") for device in ("cpu", "cuda") for model in MODELS}
    monkeypatch.setattr(engines, "_rows", lambda: rows)


def engines_of(config: Config, together: bool = True, *devices: str) -> list[tuple[str, str]]:
    return [(each.engine, each.device) for each in engines.candidates(config, together, devices)]


def test_the_table_is_about_networks_that_exist() -> None:
    with engines.TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["model"] for row in rows} <= set(MODELS)
    assert {row["device"] for row in rows} == {"cpu", "cuda"}
    assert {tuple(row[name] for name in ("device", "model", "norm")) for row in rows} >= {
        ("cpu", "mlp", "none"), ("cpu", "mlp", "BatchNorm"), ("cpu", "mlp", "*"), ("cpu", "inception", "*"),
    }  # fmt: skip
    for row in rows:
        faster = not row["ratio"] or float(row["ratio"]) >= fleet.WORTH
        assert (int(row["width"]) > 1) == (faster and (row["device"] == "cuda" or bool(row["ratio"]))), row


def test_runs_of_a_sweep_train_together_where_the_table_says_so(small: Callable[..., Config]) -> None:
    assert engines_of(small("norm=batch")) == [("fleet-5", "cpu"), ("single", "cpu")]
    assert engines_of(small("norm=group")) == [("single", "cpu")]


def test_a_run_on_its_own_trains_alone(small: Callable[..., Config]) -> None:
    assert engines_of(small("norm=batch"), False) == [("single", "cpu"), ("fleet-5", "cpu")]


@pytest.mark.parametrize(
    "overrides", [("fleet.enabled=false",), ("precision=bfloat16",), ("engine=fleet-7",), ("processes=2",)]
)
def test_what_cannot_or_shall_not_be_stacked_is_what_it_says(
    overrides: tuple[str, ...], small: Callable[..., Config]
) -> None:
    config = small("norm=batch", *overrides)
    assert engines.candidates(config, True) == [config]


def test_another_device_counts_too(small: Callable[..., Config]) -> None:
    assert engines_of(small("norm=batch"), True, "cpu", "cuda") == [
        ("fleet-5", "cpu"), ("single", "cpu"), ("fleet-128", "cuda"), ("single", "cuda"),
    ]  # fmt: skip


def test_an_engine_leaves_its_trace_and_the_single_loop_none(small: Callable[..., Config]) -> None:
    config = small("norm=batch")
    assert key_of(config) == key_of(replace(config, engine="single"))
    keys = {key_of(replace(config, engine=name)) for name in ("single", "fleet-4", "fleet-8")}
    assert len(keys) == 3


def test_a_run_that_either_engine_has_finished_is_done(small: Callable[..., Config]) -> None:
    alone, other = small("norm=batch"), small("norm=batch", "seed=1")
    run.execute(plan(alone))
    assert plan(alone, together=True).folder == plan(alone).folder
    assert plan(alone, together=True, devices=("cuda", "cpu")).config.device == "cpu"
    run.execute(plan(other, together=True))
    assert plan(other).config.engine == "fleet-5"
    assert run.execute(plan(other)) == "skipped"


# ------------------------------------------------------------------------------------------- own normalisers

OWN = {
    "fair": "def forward(self, x): return (x - x.mean(1, keepdim=True)) * self.scale",
    "counting": """\
        def forward(self, x):
            self.calls = getattr(self, "calls", 0) + 1
            return x * self.scale / self.calls""",
    "branching": "def forward(self, x): return x * self.scale if x.mean() > 0 else x * self.scale * 2",
    "drawing": "def forward(self, x): return x * self.scale + torch.rand_like(x)",
}


def own(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, small: Callable[..., Config]) -> Config:
    body = OWN[name] if OWN[name].startswith(" ") else " " * 8 + OWN[name]
    module = folder.name  # no test finds the module of another one
    source = """\
        import torch
        from torch import nn

        class Own(nn.Module):
            def __init__(self, num_features: int) -> None:
                super().__init__()
                self.scale = nn.Parameter(torch.ones(num_features))
        """
    text = dedent(source) + "\n" + "\n".join("    " + line for line in dedent(body).splitlines()) + "\n"
    (folder / f"{module}.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    config = small("norm=batch")
    config.norm = {"name": name, "_target_": f"{module}.Own"}
    return config


@pytest.mark.usefixtures("everything_together")
@pytest.mark.parametrize("name", OWN)
def test_an_own_normaliser_joins_after_a_trial(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: Callable[..., Config]
) -> None:
    config = own(name, tmp_path, monkeypatch, small)
    reason = engines.reason_alone(config)
    assert bool(reason) == (name != "fair")
    assert engines_of(config)[0] == (("fleet-4", "cpu") if name == "fair" else ("single", "cpu"))
    [kept] = (outputs_folder() / "cache" / "fleet-trials").iterdir()
    assert kept.read_text() == reason
    # Another process reads what this one found out.
    engines._found.clear()
    monkeypatch.setattr(engines, "refusal", lambda config, data: pytest.fail("tried again"))
    assert engines.reason_alone(config) == reason


@pytest.mark.usefixtures("everything_together")
def test_another_source_is_another_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: Callable[..., Config]
) -> None:
    config = own("fair", tmp_path, monkeypatch, small)
    tried: list[str] = []
    monkeypatch.setattr(engines, "refusal", lambda config, data: tried.append("") or "")
    engines.reason_alone(config)
    file = tmp_path / f"{tmp_path.name}.py"
    file.write_text(file.read_text() + "\n# another\n")
    engines.reason_alone(config)
    assert len(tried) == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
@pytest.mark.usefixtures("everything_together")
def test_nothing_is_tried_for_a_card_that_is_not_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: Callable[..., Config]
) -> None:
    monkeypatch.setattr(engines, "refusal", lambda config, data: pytest.fail("tried"))
    config = replace(own("fair", tmp_path, monkeypatch, small), device="cuda")
    assert engines_of(config) == [("fleet-4", "cuda"), ("single", "cuda")]


# ------------------------------------------------------------------------------------------- the table is made


def found(norm: str, value: float, device: str = "cpu", width: int = 4) -> Measured:
    details = {"device": device, "model": "mlp", "norm": norm, "width": width}
    return Measured("arm", [value], "×", details=details)


def test_the_benchmark_writes_the_table(tmp_path: Path) -> None:
    file = tmp_path / "engines.csv"
    file.write_text("device,model,norm,width,ratio,hardware\ncpu,mlp,*,1,,\ncuda,mlp,*,128,,\n")
    measured = [
        found("bnrepro.norm.BatchNorm", 1.5), found("torch.nn.LayerNorm", 0.9), found("none", 300, "cuda", 100),
        Measured("all", [0.7], "×"),
    ]  # fmt: skip
    fleet.write_engines(measured, "a card", file)
    assert file.read_text().splitlines() == [
        "device,model,norm,width,ratio,hardware", "cpu,mlp,*,1,,", "cuda,mlp,*,128,,",
        "cpu,mlp,BatchNorm,4,1.50,a card", "cpu,mlp,LayerNorm,1,0.90,a card", "cuda,mlp,none,128,300.00,a card",
    ]  # fmt: skip
