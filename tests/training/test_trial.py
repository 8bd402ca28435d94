"""A user's own normaliser is tried out before anything of its run is written, and changes nothing in the run."""

from __future__ import annotations

import functools
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bnrepro import data
from bnrepro.config.schema import Config
from bnrepro.errors import ConfigError
from bnrepro.models import build_model
from bnrepro.runs import engine, run
from bnrepro.training.loop import Trainer

HEAD = """import torch
from torch import nn
class Mine(nn.Module):
    def __init__(self, n):
        super().__init__()
"""
GOOD = "    def forward(self, x):\n        return (x - x.mean(0)) / (x.var(0) + 1e-5).sqrt()\n"

Own = Callable[[str], Config]


@pytest.fixture
def own(small: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Own:
    """The configuration of a small run whose normaliser is the class ``Mine`` of the given source."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def configured(source: str) -> Config:
        (tmp_path / "mine_under_trial.py").write_text(source)
        monkeypatch.delitem(sys.modules, "mine_under_trial", raising=False)
        config = small("norm=batch")
        config.norm = {"name": "mine", "_target_": "mine_under_trial.Mine"}
        return config

    yield configured
    sys.modules.pop("mine_under_trial", None)


def forward(*lines: str) -> str:
    return HEAD + "    def forward(self, x):\n" + textwrap.indent("\n".join(lines) + "\n", " " * 8)


COPY = """
class Copy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()
    @staticmethod
    def backward(ctx, grad):
        raise ValueError('lost')
"""


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import no_such_package\n", "line 1: ModuleNotFoundError: No module named 'no_such_package'"),
        ("x = 1\nclass Mine(:\n", "line 2: SyntaxError: invalid syntax"),
        ("raise OSError('no licence')\n", "line 1: OSError: no licence"),
        ("class Other: pass\n", "cannot be built: there is no mine_under_trial.Mine"),
        (HEAD + "        raise KeyError(n)\n", "line 6: KeyError: 12"),
        (HEAD + "        assert n < 5, f'{n} is too many'\n", "line 6: AssertionError: 12 is too many"),
        ("class Mine:\n    def __init__(self, n): pass\n", "not derived from torch.nn.Module"),
        ("def Mine(n):\n    return 3\n", "makes no torch.nn.Module, but int"),
        (HEAD, 'fails in training: Module [Mine] is missing the required "forward"'),
        (forward("if self.training:", "    raise RuntimeError('in training alone')", "return x"),
         "fails in training: {file}, line 8: RuntimeError: in training alone"),
        (forward("if not self.training:", "    raise RuntimeError('in evaluation alone')", "return x"),
         "fails in evaluation: {file}, line 8: RuntimeError: in evaluation alone"),
        (forward("pass"), "fails in training: it returns NoneType, not a tensor"),
        (forward("if self.training:", "    return x", "return x, x"), "fails in evaluation: it returns tuple"),
        (forward("return x[:, :1]"), "it turns the shape (20, 12) into (20, 1)"),
        (forward("return x[:1]"), "it turns the shape (20, 12) into (1, 12)"),
        (forward("return x / (x - x)"), "its output is not finite"),
        (forward("return x.detach()"), "its output is cut off from its input"),
        (forward("return (x - x).sqrt() + x"), "its gradient is not finite"),
        (forward("return Copy.apply(x)") + COPY,
         "line 15: ValueError: lost"),
        (forward("y = x.exp()", "y += y.sum()", "return y"), "modified by an inplace operation"),
    ],
)  # fmt: skip
def test_a_normaliser_that_fails_is_refused_with_its_cause_and_leaves_nothing(
    own: Own, tmp_path: Path, outputs: Path, source: str, told: str
) -> None:
    config = own(source)
    with pytest.raises(ConfigError) as caught:
        run.execute(run.plan(config))
    message = str(caught.value)
    assert message.startswith("norm=mine ")
    assert told.format(file=tmp_path / "mine_under_trial.py") in message
    assert len(message.splitlines()) == 1
    assert "HYDRA_FULL_ERROR" not in message
    assert not outputs.exists()


def test_a_sweep_is_refused_before_any_of_its_runs_starts(
    own: Own, small: Callable[..., Config], outputs: Path
) -> None:
    planned = [run.plan(small("norm=none")), run.plan(own(forward("pass")))]
    with pytest.raises(ConfigError, match="norm=mine fails in training"):
        engine.train_all(planned, jobs=1)
    assert not outputs.exists()


def test_the_trial_changes_no_bit_of_the_run(own: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    counting = GOOD.replace(
        "return", "self.register_buffer('seen', self.seen + 1); x = x + 0.1 * torch.randn_like(x); return"
    )
    source = HEAD + "        self.register_buffer('seen', torch.zeros(()))\n" + counting

    def trained() -> tuple[dict[str, list[str]], dict[str, torch.Tensor]]:
        config = own(source)
        trainer = Trainer(config, data.load(config.data))
        trainer.run()
        return trainer.progress.tables, trainer.model.state_dict()

    before = torch.get_rng_state()
    tables, weights = trained()
    monkeypatch.setattr("bnrepro.training.state.try_out", lambda *_: None)
    torch.set_rng_state(before)
    without, others = trained()
    assert tables == without
    assert all(torch.equal(weights[name], others[name]) for name in weights)


def test_a_normaliser_gets_mini_batches_of_the_run_s_size(own: Own) -> None:
    # A layer that refuses fewer examples than it has features: whitening needs a covariance of full rank.
    config = own(forward("assert len(x) > x.shape[1] or not self.training", "return x"))
    Trainer(config, data.load(config.data))


def test_divergence_by_the_weights_is_no_fault_of_the_normaliser(own: Own) -> None:
    config = own(forward("return x * x.square().mean()"))
    config.model.init_scale, config.model.activation = 1e30, "relu"
    trainer = Trainer(config, data.load(config.data))
    assert trainer.run().status == "diverged"


def test_own_and_library_normalisers_are_built_once(
    small: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Config] = []
    monkeypatch.setattr("bnrepro.training.trial.build_model", lambda config, *_: built.append(config))
    for norm in ("none", "batch", "reference_batch"):
        config = small(f"norm={norm}")
        Trainer(config, data.load(config.data))
    assert not built


def test_what_a_normaliser_draws_for_its_start_comes_from_the_seed(own: Own) -> None:
    source = HEAD + "        self.weight = nn.Parameter(torch.randn(n))\n" + GOOD.replace("(x -", "self.weight * (x -")

    def weights(seed: int) -> torch.Tensor:
        config = own(source)
        config.seed = seed
        return build_model(config, (1, 8, 8), 10).state_dict()["hidden.1.norm.weight"]

    before = torch.get_rng_state()
    first = weights(0)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(1)
    assert torch.equal(first, weights(0))
    assert not torch.equal(first, weights(1))
    torch.set_rng_state(before)


def test_a_module_that_ends_the_program_is_refused(own: Own, outputs: Path) -> None:
    config = own("import sys\nsys.exit(0)\n")
    with pytest.raises(ConfigError, match="norm=mine cannot be built"):
        run.execute(run.plan(config))
    assert not outputs.exists()


def test_what_fails_later_is_told_with_file_and_line_too(own: Own, tmp_path: Path) -> None:
    late = GOOD.replace("return", "self.n += 1\n        if self.n > 9: raise ValueError('late')\n        return")
    config = own(HEAD + "        self.n = 0\n" + late)
    with pytest.raises(ConfigError, match=r"norm=mine fails in training: .*mine_under_trial.py, line .*late"):
        run.execute(run.plan(config))


def test_what_fails_elsewhere_is_no_fault_of_the_normaliser(own: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    config = own(HEAD + GOOD)
    monkeypatch.setattr(Trainer, "_train", functools.partial(torch.zeros, -1))
    with pytest.raises(RuntimeError, match="non-negative"):
        run.execute(run.plan(config))
