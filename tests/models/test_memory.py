"""A network that is too large for the memory, or cannot be made at all, is refused with what to make smaller."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bnrepro.config.schema import Config
from bnrepro.errors import ConfigError
from bnrepro.models.memory import enough_memory, refuse_beyond_memory
from bnrepro.runs import run
from bnrepro.training.loop import Trainer

CPU = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
WORDS = [
    (RuntimeError(CPU + "40000000000 bytes. Error code 12 (Cannot allocate memory)"), " (37.3 GiB at once)"),
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has …"), " (2.00 GiB at once)"),
    (RuntimeError("CUDA error: out of memory"), ""),
    (MemoryError(), ""),
]


@pytest.mark.parametrize(("error", "amount"), WORDS, ids=["cpu", "gpu", "driver", "python"])
def test_whatever_words_an_allocator_uses(error: Exception, amount: str, small: Callable[..., Config]) -> None:
    with pytest.raises(ConfigError) as caught, enough_memory(small()):
        raise error
    assert str(caught.value) == (
        f"model=mlp needs more memory than there is{amount}: make model.hidden or batch_size smaller, or train "
        "fewer runs at a time"
    )


def test_other_errors_pass(small: Callable[..., Config]) -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2"), enough_memory(small()):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


@pytest.mark.parametrize("hidden", [100_000_000, 2**31, 2**62, 2**70])
def test_a_network_beyond_all_memory_leaves_nothing_behind(
    hidden: int, small: Callable[..., Config], outputs: Path
) -> None:
    config = small()
    config.model.hidden = [hidden, hidden]  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"model=mlp (needs more memory|cannot be built)") as caught:
        run.execute(run.plan(config))
    assert len(str(caught.value).splitlines()) == 1
    assert not outputs.exists()


def test_memory_that_runs_out_in_training(small: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> None:
    def train(trainer: Trainer) -> None:
        raise WORDS[0][0]

    monkeypatch.setattr(Trainer, "_train", train)
    with pytest.raises(ConfigError, match=r"make model\.hidden or batch_size smaller"):
        run.execute(run.plan(small()))


def test_every_network_names_its_sizes(composed: Callable[..., list[Config]]) -> None:
    for name, size in {"inception": "model.stem, model.units", "bn_inception": "model.pool_projection_4cd"}.items():
        [config] = composed("data=cifar10", f"model={name}")
        with pytest.raises(ConfigError, match=size), enough_memory(config):
            raise MemoryError


@pytest.mark.parametrize(("device", "fits"), [("cpu", False), ("cuda", True)])
def test_gradients_count_where_the_weights_are(
    device: str, fits: bool, small: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, layer = small(), torch.nn.Linear(1024, 1024, bias=False)  # 4 MiB
    config.device = device
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 2**20, "SC_PHYS_PAGES": 6}.__getitem__)
    with contextlib.nullcontext() if fits else pytest.raises(ConfigError, match=r"0\.00781 GiB for its weights"):
        refuse_beyond_memory(config, layer)
