"""What `reproduce --plan` prints, and on which device a request trains."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bnrepro import store
from bnrepro.errors import ConfigError
from bnrepro.pipeline.engines import print_engines
from bnrepro.pipeline.plan import Request

DIGITS = ("data=digits", "data.train_examples=null")


def printed(request: Request) -> str:
    console = Console(file=io.StringIO(), width=120)
    print_engines(request, console)
    assert isinstance(console.file, io.StringIO)
    return " ".join(console.file.getvalue().split())


def test_every_run_has_an_engine_and_a_reason() -> None:
    text = printed(Request("smoke", only=("mnist_training", "batch_size"), overrides=DIGITS))
    assert "mnist_training none 2 0 fleet-5, cpu 1." in text
    assert "batch 2 0 fleet-5, cpu 1." in text
    assert "group" in text
    assert "single, cpu the single loop is faster" in text
    assert "runs (100.0%) can be stacked" in text
    assert not store.runs_of("mnist_training")


def test_without_fleets_every_run_is_alone() -> None:
    text = printed(Request("smoke", only=("mnist_training",), overrides=(*DIGITS, "fleet.enabled=false")))
    assert "mnist_training none, batch 4 0 single, cpu fleet.enabled=false" in text


def test_the_committed_runs_can_be_stacked() -> None:
    """At least 95% of the full profile's."""
    text = printed(Request("full", overrides=(*DIGITS, "data.validation_examples=300", "data.enlarge=32")))
    share = float(text.partition(" runs (")[2].partition("%)")[0])
    assert share >= 95


@pytest.mark.parametrize(
    ("device", "overrides", "cuda", "expected"),
    [
        ("auto", (), False, ("cpu", "cuda")),
        ("auto", (), True, ("cuda", "cpu")),
        ("cpu", (), True, ("cpu",)),
        ("cuda", (), True, ("cuda",)),
        ("auto", ("device=cuda",), True, ()),
    ],
)
def test_the_device_of_a_request(
    device: str, overrides: tuple[str, ...], cuda: bool, expected: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: cuda)
    assert Request("smoke", overrides=overrides, device=device).devices() == expected


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match="--device cuda: no CUDA device is available"):
        Request("smoke", device="cuda").devices()


def test_two_devices_are_refused() -> None:
    with pytest.raises(ConfigError, match="--device cpu and device=cuda: only one of them"):
        Request("smoke", overrides=("device=cuda",), device="cpu").devices()


def test_the_device_does_not_name_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    folders = {Request("full", device=device).results("batch", False) for device in ("auto", "cpu", "cuda")}
    assert len(folders) == 1
