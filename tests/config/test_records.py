"""What a record says is never executed: not in any key, at any depth, in any of Hydra's words."""

from __future__ import annotations

import builtins
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fabricated import finish, publish, vouch

from bnrepro import store
from bnrepro.config.build import from_record
from bnrepro.config.identity import scientific
from bnrepro.config.schema import Config
from bnrepro.errors import ConfigError, StoreError
from bnrepro.norm.factory import make_norm
from bnrepro.pipeline.verify import verify

CALLED: list[str] = []


@pytest.fixture(autouse=True)
def _callable_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that any name leads to, and that tells if it was called."""
    CALLED.clear()
    monkeypatch.setattr(builtins, "call_of_a_table", lambda *given, **named: CALLED.append("called"), raising=False)
    monkeypatch.setenv("SECRET_OF_A_USER", "secret")


CALL = "builtins.call_of_a_table"
PLANTED: list[tuple[str, Any]] = [
    ("norm._target_", CALL),
    ("norm._target_", "bnrepro.store.files.os.getcwd"),
    ("norm._target_", "torch.nn.functional.warnings.warn"),
    ("norm._target_", "bnrepro.norm.functional.torch.load"),
    ("norm._target_", "torch.nn.init.xavier_uniform_"),
    ("norm._target_", 3),
    ("norm._target_", ["bnrepro.norm.BatchNorm"]),
    ("norm.eps._target_", CALL),
    ("norm.eps", {"_target_": CALL}),
    ("norm.eps", [{"_target_": CALL}]),
    ("norm.more.deep._target_", CALL),
    ("norm._args_", [{"_target_": CALL}]),
    ("norm._args_", []),
    ("norm._partial_", True),
    ("norm._recursive_", True),
    ("norm._convert_", "all"),
    ("norm.eps", "${oc.env:SECRET_OF_A_USER}"),
    ("norm.name", "${oc.env:SECRET_OF_A_USER}"),
    ("norm.${oc.env:SECRET_OF_A_USER}", 1),
    ("steps", "${quotient:10,2}"),
    ("optimizer.lr", "${oc.decode:1}"),
    ("model.hidden", ["${oc.env:SECRET_OF_A_USER}"]),
    ("model.hidden", {"_target_": CALL}),
    ("data._target_", CALL),
    ("_target_", CALL),
    ("optimizer.lr", {"_target_": CALL}),
    ("data.root", "/etc"),
    ("data.title", "anything"),
    ("keep_weights", True),
    ("wandb", "online"),
    ("profiles.x", "y"),
    ("hydra.run.dir", "/tmp/x"),
    ("defaults", ["/norm: none"]),
]


def plant(tree: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, leaf = dotted.split(".")
    for parent in parents:
        if not isinstance(tree.get(parent), dict):
            tree[parent] = {}
        tree = tree[parent]
    tree[leaf] = value


@pytest.mark.parametrize(("key", "value"), PLANTED)
def test_a_record_is_data(small: Callable[..., Config], key: str, value: Any) -> None:
    recorded = scientific(small("norm=batch"))
    plant(recorded, key, value)
    with pytest.raises(ConfigError, match="x: the record of a run is no configuration") as caught:
        from_record("x", recorded)
    assert not CALLED
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", sorted({"norm.eps", "norm.momentum", "norm.affine", "norm.own", "steps", "data.name"}))
@pytest.mark.parametrize("cell", ['{""_target_"": ""builtins.call_of_a_table""}', "${oc.env:SECRET_OF_A_USER}"])
def test_a_table_is_data_in_every_column(small: Callable[..., Config], tmp_path: Path, key: str, cell: str) -> None:
    """A stranger's table, with digests that fit, read by the one command that builds networks from it."""
    for seed in (0, 1):
        curves = {"test/loss": lambda seed, step: 1.0}
        finish(small("experiment=mnist_training", "norm=batch", f"seed={seed}"), curves, [0, 40])
    publish("mnist_training", tmp_path)
    path = tmp_path / "tables" / "mnist_training.runs.csv"
    header, *rows = path.read_text().splitlines()
    # A new column at the end, in the place of the old one.
    header = ",".join(["norm.old" if name == key else name for name in header.split(",")] + [key])
    path.write_text("\n".join([header, *(f'{row},"{cell}"' for row in rows), ""]))
    vouch(tmp_path)
    with pytest.raises((ConfigError, StoreError)) as caught:
        verify("mnist_training", tmp_path)
    assert not CALLED
    assert "secret" not in str(caught.value)


def test_every_normaliser_of_ours_is_one_that_a_record_may_name(small: Callable[..., Config]) -> None:
    files = sorted((store.configs_folder() / "norm").glob("*.yaml"))
    assert len(files) > 10
    for norm in (file.stem for file in files):
        recorded = scientific(small(f"norm={norm}", "model.activation=relu"))
        assert scientific(from_record("x", recorded)) == recorded


def test_the_planted_call_would_tell() -> None:
    """The tests above would see a call: that of a normaliser which a user's own configuration names."""
    with contextlib.suppress(ConfigError):
        make_norm({"name": "x", "_target_": "bnrepro.norm.BatchNorm", "eps": {"_target_": CALL}}, 3)
    assert CALLED
