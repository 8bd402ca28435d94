"""One run from configuration to folder: skipped if done, resumed if begun, the same files whatever is switched on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from bnrepro import data, store
from bnrepro.config.compose import Composer
from bnrepro.config.identity import scientific
from bnrepro.config.schema import Config
from bnrepro.errors import ConfigError, StoreError
from bnrepro.runs import engine, run
from bnrepro.training import checkpoint
from bnrepro.training.loop import Trainer

PROBES = ("probes.activations.enabled=true", "probes.activations.examples=50")


def csv(planned: run.Planned) -> dict[str, bytes]:
    """A finished run's tables, byte for byte."""
    return {name: content for name, content in planned.folder.read()[1].items() if name.endswith(".csv")}


def execute_in(folder: Path, config: Config) -> dict[str, bytes]:
    """The tables of ``config`` trained anew, with ``folder`` for outputs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BNREPRO_OUTPUTS", str(folder))
        planned = run.plan(config)
        assert run.execute(planned) in ("finished", "diverged")
        return csv(planned)


def interrupted(config: Config, at: int = 3) -> run.Planned:
    """A run that was stopped after its checkpoint number ``at``."""
    planned, count = run.plan(config), [0]

    class Stop(Exception):
        pass

    def write(self: store.RunFolder, payload: bytes, original: Callable = store.RunFolder.write_checkpoint) -> None:
        original(self, payload)
        count[0] += 1
        if count[0] == at:
            raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store.RunFolder, "write_checkpoint", write)
        config.checkpoint_every_s = 1e-9
        with pytest.raises(Stop):
            run.execute(planned)
    assert planned.folder.checkpoint.exists()
    return planned


def test_a_finished_run_holds_its_tables_and_its_identity(finished: Callable[..., run.Planned], outputs: Path) -> None:
    planned = finished("norm=batch", "seed=4", *PROBES)
    record, files = planned.folder.read()
    assert set(files) == {*("metrics.csv", "activations.csv", "layers.csv", "histograms.csv", "config.yaml")}
    assert {path.name for path in planned.folder.path.iterdir()} == {*files, "meta.json", "DONE", "lock"}
    assert planned.folder.path == outputs / "runs" / "single" / f"batch-s4-{planned.key[:8]}"
    assert (record.status, record.last_step, record.key, record.arm) == ("finished", 40, planned.key, "batch")
    assert record.config == scientific(planned.config)
    assert record.data == "UCI digits, binary"
    assert record.versions["torch"] == torch.__version__


def test_the_configuration_of_a_run_gives_the_run_again(finished: Callable[..., run.Planned]) -> None:
    planned = finished("norm=batch", "optimizer.lr=0.3", "data.train_examples=500")
    stored = OmegaConf.create(planned.folder.read()[1]["config.yaml"].decode())
    values = {"optimizer.lr": "0.3", "data.train_examples": "500", "norm._target_": planned.config.norm["_target_"]}
    for key, value in values.items():
        assert str(OmegaConf.select(stored, key)) == value
    assert set(stored) == set(vars(planned.config))


def test_a_done_run_is_skipped_without_building_anything(
    finished: Callable[..., run.Planned], monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = finished("norm=none")
    monkeypatch.setattr(run, "Trainer", lambda *_: pytest.fail("trained again"))
    assert run.execute(planned) == "skipped"


def test_the_view_and_the_place_do_not_make_another_run(
    finished: Callable[..., run.Planned], small: Callable[..., Config]
) -> None:
    finished("norm=none")
    assert run.execute(run.plan(small("norm=none", "checkpoint_every_s=3", "profile=quick"))) == "skipped"


@pytest.mark.parametrize("other", [("checkpoint_every_s=1e-9",), ("wandb=offline",), PROBES])
def test_what_only_watches_changes_no_byte_of_the_tables(
    small: Callable[..., Config], tmp_path: Path, other: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bnrepro.training.tracking.INIT_TIMEOUT_S", 60)
    arm = ("norm=batch", "model.dropout=0.2")
    plain = execute_in(tmp_path / "plain", small(*arm))
    assert execute_in(tmp_path / "other", small(*arm, *other))["metrics.csv"] == plain["metrics.csv"]


def test_the_same_run_twice_is_the_same_files(small: Callable[..., Config], tmp_path: Path) -> None:
    config = small("norm=batch", "model.dropout=0.2", *PROBES)
    assert execute_in(tmp_path / "one", config) == execute_in(tmp_path / "two", config)


@pytest.mark.parametrize("at", [1, 3])
def test_an_interrupted_run_goes_on_and_ends_the_same(
    small: Callable[..., Config],
    tmp_path: Path,
    at: int,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = small("norm=batch", "model.dropout=0.2", "checkpoint_every_s=1e-9", *PROBES)
    whole = execute_in(tmp_path / "whole", config)
    planned, steps = interrupted(config, at), []
    batch = data.ExampleOrder.batch
    monkeypatch.setattr(data.ExampleOrder, "batch", lambda self, index: steps.append(index) or batch(self, index))
    with caplog.at_level(logging.INFO):
        assert run.execute(planned) == "finished"
    assert f"continues at step {at * 10}" in caplog.text
    assert steps == list(range(at * 10, 40)), "steps before the checkpoint were done again"
    assert csv(planned) == whole
    assert not planned.folder.checkpoint.exists()


def cut(planned: run.Planned) -> None:
    path = planned.folder.checkpoint
    path.write_bytes(path.read_bytes()[:-100])


def other_network(planned: run.Planned) -> None:
    """A checkpoint that fits in part: its first layers can be loaded, its last cannot."""
    config = planned.config
    foreign = Trainer(config, data.load(config.data))
    with torch.no_grad():
        for parameter in foreign.model.parameters():
            parameter.fill_(3.0)
    foreign.model.output = torch.nn.Linear(5, 10)
    planned.folder.write_checkpoint(checkpoint.save(foreign))


def no_checkpoint_at_all(planned: run.Planned) -> None:
    planned.folder.write_checkpoint(b"whole but meaningless")


@pytest.mark.parametrize("damage", [cut, other_network, no_checkpoint_at_all])
def test_a_useless_checkpoint_costs_this_run_alone_and_says_so(
    small: Callable[..., Config],
    tmp_path: Path,
    damage: Callable[[run.Planned], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = small("norm=batch", "model.dropout=0.2", *PROBES)
    whole = execute_in(tmp_path / "whole", config)
    planned = interrupted(config)
    damage(planned)
    assert run.execute(planned) == "finished"
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert planned.folder.name in record.getMessage()
    assert "starts over" in record.getMessage()
    assert csv(planned) == whole


@pytest.mark.parametrize("again", [run.execute, lambda planned: engine.train_all([planned])])
def test_what_a_kill_right_after_done_leaves_is_removed_by_the_next_call(
    finished: Callable[..., run.Planned], again: Callable[[run.Planned], object]
) -> None:
    planned = finished("norm=none")
    planned.folder.write_checkpoint(b"of the last steps")
    again(planned)
    assert not planned.folder.checkpoint.exists()
    assert planned.folder.read()[0].status == "finished"


def test_a_diverged_run_is_done_and_says_so(small: Callable[..., Config]) -> None:
    config = small("norm=none", "model.activation=relu", "optimizer.lr=1", "optimizer.weight_decay=11")
    planned = run.plan(config)
    assert run.execute(planned) == "diverged"
    record, files = planned.folder.read()
    assert record.status == "diverged"
    assert 0 < record.last_step < 40
    assert b"nan" not in files["metrics.csv"]
    assert run.execute(planned) == "skipped"


def test_whoever_watches_is_told_of_every_evaluation(small: Callable[..., Config]) -> None:
    told: list[run.Report] = []
    planned = run.plan(small("norm=none"))
    run.execute(planned, told.append)
    assert [report.step for report in told] == [0, 10, 20, 30, 40]
    assert {report.name for report in told} == {planned.folder.name}
    assert set(told[-1].values) == {f"{s}/{m}" for s in ("test", "validation") for m in ("loss", "accuracy")} | {
        "train/loss"
    }


def test_trained_networks_are_kept_on_request(finished: Callable[..., run.Planned]) -> None:
    planned = finished("norm=batch", "keep_weights=true")
    [name] = [name for name in planned.folder.read()[1] if name.endswith(".pt")]
    kept = torch.load(planned.folder.path / name, weights_only=True)
    trainer = Trainer(planned.config, data.load(planned.config.data))
    trainer.run()
    assert all(torch.equal(kept[key], value) for key, value in trainer.model.state_dict().items())


@pytest.mark.parametrize("overrides", [("batch_size=1238",), ("data.validation_examples=2000",)])
def test_what_does_not_fit_the_data_leaves_nothing_behind(
    small: Callable[..., Config], overrides: tuple[str, ...], outputs: Path
) -> None:
    with pytest.raises(ConfigError, match=overrides[0].partition("=")[0]):
        run.execute(run.plan(small(*overrides)))
    assert not outputs.exists()


def test_a_users_own_layer_that_fails_leaves_nothing_behind(
    tmp_path: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "norm").mkdir()
    (tmp_path / "norm" / "mine.yaml").write_text("_target_: layer_of_this_test.Mine\n")
    (tmp_path / "layer_of_this_test.py").write_text("def Mine(n):\n    raise ValueError('no such thing')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with Composer(str(tmp_path)) as composer:
        [config] = composer.sweep(["data=digits", "norm=mine", "wandb=disabled"])
    with pytest.raises(ConfigError, match=r"cannot be built: (.|\n)*no such thing"):
        run.execute(run.plan(config))
    assert not outputs.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
def test_a_device_that_is_not_there_is_refused(small: Callable[..., Config], outputs: Path) -> None:
    with pytest.raises(ConfigError, match="use device=cpu"):
        run.execute(run.plan(small("device=cuda")))
    assert not outputs.exists()


def test_an_outputs_folder_that_cannot_be_written_is_named(small: Callable[..., Config], outputs: Path) -> None:
    outputs.write_text("a file, not a folder")
    with pytest.raises(StoreError, match=f"cannot write {outputs}"):
        run.execute(run.plan(small("norm=none")))
