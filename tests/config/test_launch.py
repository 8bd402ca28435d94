"""Only torchrun makes a group of processes: what else stands in the environment changes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from bnrepro.config import launch
from bnrepro.config.compose import Composer
from bnrepro.errors import ConfigError

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1",
    "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500",
}  # fmt: skip


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def put(**variables: str) -> None:
        for name in TORCHRUN:
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        launch._say.cache_clear()

    return put


@pytest.mark.parametrize(
    ("left", "told"),
    [
        ({}, False),
        ({"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "node1", "MASTER_PORT": "1"}, True),
        ({"WORLD_SIZE": "4"}, True),
        ({"WORLD_SIZE": "two"}, True),
        ({"WORLD_SIZE": "", "RANK": ""}, False),
        ({"WORLD_SIZE": "1", "RANK": "0"}, False),
        ({"RANK": "3", "LOCAL_RANK": "3"}, False),
    ],
)
def test_without_torchrun_a_process_trains_alone_and_says_what_it_ignores(
    left: dict[str, str], told: bool, environment: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    environment(**left)
    assert launch.started() == 1
    assert launch.leads()
    assert launch.leads_here()
    with Composer() as composer:
        for _ in range(2):
            [config] = composer.sweep(["data=digits"], single=True)
            assert config.processes == 1
    assert [record.getMessage() for record in caplog.records] == (
        [f"WORLD_SIZE={left['WORLD_SIZE']!r} was not set by torchrun and does not count: this process trains alone"]
        if told
        else []
    )


def test_torchruns_variables_make_a_group(environment: Callable[..., None]) -> None:
    environment(**TORCHRUN)
    assert launch.started() == 2
    assert not launch.leads()
    assert not launch.leads_here()
    with Composer() as composer:
        [config] = composer.sweep(["data=digits"], single=True)
    assert config.processes == 2
    os.environ["RANK"] = "0"
    assert launch.leads()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"RANK": "3"}, "RANK=3 and LOCAL_RANK=1 are no places among WORLD_SIZE=2"),
        ({"RANK": "x"}, "RANK='x' is no number"),
        ({"RANK": ""}, "RANK is not set"),
        ({"WORLD_SIZE": "-2"}, "WORLD_SIZE='-2' is no number"),
        ({"WORLD_SIZE": "0"}, "are no places among WORLD_SIZE=0"),
        ({"MASTER_ADDR": ""}, "MASTER_ADDR is not set"),
        ({"MASTER_PORT": ""}, "MASTER_PORT is not set"),
    ],
)
def test_a_group_that_does_not_fit_is_refused_with_the_variable(
    change: dict[str, str], expected: str, environment: Callable[..., None]
) -> None:
    environment(**TORCHRUN | change)
    with pytest.raises(ConfigError, match="unset TORCHELASTIC_RUN_ID to train alone") as caught:
        launch.started()
    assert expected in str(caught.value)
