"""A run that takes up another's checkpoint: what may differ, what it says, and that it never starts over."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch

from bnrepro import data, store
from bnrepro.config import identity as identities
from bnrepro.config.schema import Config
from bnrepro.errors import ConfigError
from bnrepro.runs import run
from bnrepro.training import checkpoint
from bnrepro.training.loop import Trainer

DROPOUT = ("norm=batch", "model.dropout=0.3")


@pytest.fixture
def stopped(sweep: Callable[..., list[Config]]) -> Callable[..., tuple[Callable[..., Config], str]]:
    """A run stopped at its second checkpoint: how to configure others like it, and its name."""

    def stop(*overrides: str) -> tuple[Callable[..., Config], str]:
        def configured(*more: str) -> Config:
            [config] = sweep(*DROPOUT, *overrides, *more)
            return config

        config = configured()
        planned, kept = run.plan(config), list[bytes]()
        config.checkpoint_every_s = 1e-9
        trainer = Trainer(config, data.open_dataset(config.data))
        trainer.callbacks.on_checkpoint = kept.append
        trainer.run()
        planned.folder.path.mkdir(parents=True)
        planned.folder.write_checkpoint(kept[1])
        return configured, planned.folder.name

    return stop


def altered(name: str, config: Config, change: Callable[[dict[str, Any]], object]) -> None:
    """The checkpoint of the run ``name``, with ``change`` made to what it holds."""
    folder = store.run_named(config.experiment, name)
    state = torch.load(io.BytesIO(folder.read_checkpoint() or b""), weights_only=True)
    change(state)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    folder.write_checkpoint(buffer.getvalue())


def test_other_arithmetic_goes_on_and_says_so(stopped: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    configured, name = stopped()
    with caplog.at_level("INFO"):
        planned = run.plan(configured(f"continue_from={name}", "precision=float64"))
        assert run.execute(planned) == "finished"
    [said] = [
        record.getMessage()
        for record in caplog.records
        if "continues" in record.getMessage() and "same" in record.getMessage()
    ]
    assert "with precision=float64 instead of float32. The same" in said
    assert "Not bit-exact from here on: the arithmetic is another's." in said
    assert "processes" not in said
    steps = [int(line.partition(",")[0]) for line in planned.folder.read()[1]["metrics.csv"].decode().splitlines()[1:]]
    assert steps == sorted(steps)
    assert steps[-1] == 40


def test_on_another_device_layers_that_draw_draw_afresh(stopped: Callable[..., Any]) -> None:
    """A checkpoint of a GPU holds the GPU's generators: a processor has other ones, and does not refuse it."""
    configured, name = stopped()
    config = configured(f"continue_from={name}", "steps=40")
    for state in ({}, {"cuda_generators": [torch.get_rng_state()]}):
        altered(name, config, lambda held, more=state: held.update(more))
        trainer = Trainer(config, data.open_dataset(config.data))
        checkpoint.take_up(trainer, checkpoint.checkpoint_of(config, trainer.identity["data"]))
        found = torch.get_rng_state()
        held = torch.load(
            io.BytesIO(store.run_named(config.experiment, name).read_checkpoint() or b""), weights_only=True
        )
        assert torch.equal(found, held["generators"][0]) == (not state)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda state: state["model"].popitem(), "does not fit"),
        (lambda state: state.pop("progress"), "cannot be read"),
    ],
)
def test_what_cannot_be_continued_never_starts_over(
    stopped: Callable[..., Any], change: Callable[[dict[str, Any]], object], expected: str
) -> None:
    configured, name = stopped()
    config = configured(f"continue_from={name}")
    altered(name, config, change)
    planned = run.plan(config)
    with pytest.raises(ConfigError, match=f"continue_from={name}: .*{expected}"):
        run.execute(planned)
    assert not planned.folder.is_done()


def test_a_checkpoint_of_other_code_is_refused(stopped: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    configured, name = stopped()
    monkeypatch.setattr(identities, "CODE_EPOCH", identities.CODE_EPOCH + 1)
    with pytest.raises(ConfigError, match="differs in the code that trained it"):
        run.execute(run.plan(configured(f"continue_from={name}")))


def test_a_checkpoint_of_an_edited_normaliser_is_refused(
    stopped: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    configured, name = stopped()
    monkeypatch.setattr(identities, "_own_source", lambda norm: "edited")
    with pytest.raises(ConfigError, match="differs in the source of its normaliser"):
        run.execute(run.plan(configured(f"continue_from={name}")))


@pytest.mark.parametrize(
    ("before", "now", "changed", "expected"),
    [
        (4, 1, {"sync_batch_norm": (True, False)}, None),  # all of the mini-batch, before and now
        (2, 1, {}, "sees 20 examples, not 10"),
        (2, 2, {"sync_batch_norm": (False, True)}, "sees 20 examples, not 10"),
    ],
)
def test_how_much_of_a_mini_batch_a_norm_sees(
    before: int, now: int, changed: dict[str, Any], expected: str | None, sweep: Callable[..., list[Config]]
) -> None:
    [config] = sweep("norm=batch")
    config.processes, config.sync_batch_norm = now, changed.get("sync_batch_norm", (False, False))[1]
    said = checkpoint.statement("a-run", 7, before, changed, config)
    assert ("sees" in said) == (expected is not None)
    assert expected is None or expected in said
