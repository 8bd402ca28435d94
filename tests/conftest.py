"""What every test starts from: one thread, a folder of its own for outputs, small runs on the bundled digits."""

from __future__ import annotations

import copy
import functools
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import processes
import pytest
import torch
from composing import composing_once
from hydra.core.global_hydra import GlobalHydra

from bnrepro import data
from bnrepro.claims import style
from bnrepro.config import compose
from bnrepro.config.compose import Composer
from bnrepro.config.schema import Config
from bnrepro.measurements import base
from bnrepro.runs import run
from bnrepro.store import workers

SMALL = (
    "data=digits",
    "wandb=disabled",
    "checkpoint_every_s=0",
    "model.hidden=[12,8]",
    "batch_size=20",
    "steps=40",
)
"""A run of some ten milliseconds."""


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _without_waiting_for_the_disk() -> Iterator[None]:
    """What a test writes need not survive a power cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(autouse=True)
def _logging_stays_on() -> Iterator[None]:
    """A script switches logging off as it ends, and Hydra's set-up disables loggers: neither outlasts a test."""
    yield
    logging.disable(logging.NOTSET)
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith("bnrepro") and isinstance(logger, logging.Logger):
            logger.disabled, logger.propagate = False, True


@pytest.fixture
def one_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures as SVG alone: all formats take three times as long."""
    monkeypatch.setattr(style, "FORMATS", ("svg",))


@pytest.fixture(autouse=True)
def outputs(tmp_path: Path) -> Iterator[Path]:
    """The test's own outputs folder, not made yet; the repository's own outputs and results are out of reach.

    Patched apart from the test's ``monkeypatch``, so that its ``undo`` does not undo this.
    """
    folder = tmp_path / "outputs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BNREPRO_OUTPUTS", str(folder))
        patch.setenv("BNREPRO_RESULTS", str(tmp_path / "results"))
        yield folder


@pytest.fixture(autouse=True)
def _forked(request: pytest.FixtureRequest) -> Iterator[None]:
    """The workers of a sweep come from a server that has the slow imports behind it, except in a test that is marked
    ``spawned``."""
    with pytest.MonkeyPatch.context() as patch:
        if request.node.get_closest_marker("spawned") is None:
            patch.setattr(workers, "CONTEXT", processes.Forked)
        yield


# --------------------------------------------------------------------------------------------- configurations


compose.compose = base.compose = composing_once(compose.compose)
_composer = Composer()


@pytest.fixture
def composer() -> Composer:
    """An open composer, shared for its caches; opened again after a test that had one of its own."""
    return _opened()


def _opened() -> Composer:
    if not GlobalHydra.instance().is_initialized():
        _composer.__enter__()
    return _composer


@functools.lru_cache(maxsize=1024)
def _composed(overrides: tuple[str, ...], single: bool) -> tuple[Config, ...]:
    return tuple(_opened().sweep(overrides, single=single))


@pytest.fixture(scope="session")
def composed() -> Callable[..., list[Config]]:
    """``composed("experiment=mnist_training")``: the configurations that a multirun with these overrides trains."""
    return lambda *overrides: copy.deepcopy(list(_composed(overrides, False)))


@pytest.fixture(scope="session")
def sweep() -> Callable[..., list[Config]]:
    """``sweep("norm=none,batch", "seed=0,1")``: the configurations of small runs on digits."""
    return lambda *overrides: copy.deepcopy(list(_composed((*SMALL, *overrides), False)))


@pytest.fixture(scope="session")
def small() -> Callable[..., Config]:
    """``small("norm=none")``: the configuration of one small run on digits."""

    def one(*overrides: str) -> Config:
        [config] = _composed((*SMALL, *overrides), True)
        return copy.deepcopy(config)

    return one


@pytest.fixture
def finished(small: Callable[..., Config]) -> Callable[..., run.Planned]:
    """``finished("norm=none")``: one small run, brought to its end in this test's outputs."""

    def one(*overrides: str) -> run.Planned:
        planned = run.plan(small(*overrides))
        run.execute(planned)
        return planned

    return one


@pytest.fixture
def mnist() -> Path:
    """The folder of the real MNIST files; the test is skipped where they are missing. Never downloads."""
    root = data.find_mnist()
    if root is None:
        pytest.skip("MNIST is neither in $BNREPRO_DATA nor in data/")
    return root
