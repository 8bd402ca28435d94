"""One policy for what stands in for missing data, told once, whoever asks; the caller's own choice of data holds."""

from __future__ import annotations

from collections.abc import Callable

import processes
import pytest
from hydra import compose
from hydra.core.hydra_config import HydraConfig

from bnrepro import store
from bnrepro.config.compose import Composer
from bnrepro.config.schema import Config, DataConfig
from bnrepro.data import fallback
from bnrepro.errors import ConfigError, DataUnavailable
from hydra_plugins.bnrepro_engine import EngineLauncher


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``lacking("mnist")``: these data sets are missing; digits have 1,437 images, others enough."""

    def without(*names: str) -> None:
        def opened(config: DataConfig) -> None:
            if config.name in names:
                raise DataUnavailable(f"{config.name} is nowhere.")
            if config.name == "digits" and config.validation_examples > 1436:
                raise ConfigError("too few digits")

        monkeypatch.setattr(fallback, "open_dataset", opened)

    monkeypatch.setattr(fallback, "_told", set())
    return without


@pytest.fixture
def asked(composer: Composer) -> Callable[..., fallback.Found]:
    """The runs of a command line with these overrides, on what data there are."""

    def found(*overrides: str) -> fallback.Found:
        return fallback.with_data(lambda stand_in: composer.sweep([*stand_in, *overrides], single=True))

    return found


@pytest.mark.parametrize(
    ("missing", "overrides", "used"),
    [
        ((), ("experiment=inception_training",), "cifar10"),
        (("cifar10",), ("experiment=inception_training",), "image_folder"),
        (("cifar10", "image_folder"), ("experiment=inception_training",), "digits"),
        (("mnist",), ("experiment=mnist_training",), "digits"),
        (("mnist",), (), "digits"),
        (("mnist",), ("data=mnist",), "mnist"),
        (("cifar10",), ("experiment=inception_training", "data=cifar10"), "cifar10"),
        (("image_folder",), ("data=image_folder", "data.root=mine"), "image_folder"),
    ],
)
def test_what_stands_in_for_what(
    missing: tuple[str, ...],
    overrides: tuple[str, ...],
    used: str,
    lacking: Callable[..., None],
    asked: Callable[..., fallback.Found],
) -> None:
    lacking(*missing)
    found = asked(*overrides)
    assert found.configs[0].data.name == used
    # Only what stands in is announced: where nothing does, opening the data raises.
    assert bool(found.reason) == (bool(missing) and used not in missing)


def test_the_notice_names_what_is_missing_what_stands_in_and_how_to_have_no_other(
    lacking: Callable[..., None], asked: Callable[..., fallback.Found], caplog: pytest.LogCaptureFixture
) -> None:
    lacking("cifar10")
    for _ in range(2):
        fallback.tell(asked("experiment=inception_training"))
    [told] = [record.message for record in caplog.records]
    for part in ("cifar10 is nowhere", "JPEG copy of CIFAR-10", "data.root=cifar10_jpeg", "data=cifar10 among"):
        assert part in told


def test_overrides_that_do_not_fit_what_would_stand_in_are_told_with_what_is_missing(
    lacking: Callable[..., None], asked: Callable[..., fallback.Found]
) -> None:
    lacking("mnist")
    with pytest.raises(DataUnavailable, match=r"^mnist is nowhere\. data=digits cannot stand in .* too few"):
        asked("data.validation_examples=5000")


@pytest.mark.parametrize("experiment", ["operating_points", "stability_limit", "depth", "dropout"])
def test_experiments_that_choose_their_validation_set_run_on_the_digits(
    experiment: str, lacking: Callable[..., None], asked: Callable[..., fallback.Found]
) -> None:
    lacking("mnist")
    data = asked(f"experiment={experiment}").configs[0].data
    assert (data.name, data.validation_examples) == ("digits", 200)


def test_a_single_run_has_the_same_policy(
    lacking: Callable[..., None], composer: Composer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    given = ["steps=20", "model.hidden=[8]", "wandb=disabled"]
    cfg = compose("train", given, return_hydra_config=True)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", cfg)
    cfg.hydra.overrides.task = given
    cfg.hydra.mode = "RUN"
    monkeypatch.setattr(Composer, "inside_hydra", classmethod(lambda cls: composer))
    monkeypatch.setattr(Composer, "__enter__", lambda self: self)
    monkeypatch.setattr(Composer, "__exit__", lambda self, *exception: None)
    lacking("mnist")
    processes.loaded(processes.TRAIN)._train(cfg)
    [folder] = store.runs_of("single")
    config = folder.read()[0].config
    assert (config["data"]["name"], config["steps"]) == ("digits", 20)
    assert "mnist is nowhere." in caplog.text
    assert "bundled UCI digits" in caplog.text


def test_a_sweep_has_the_same_policy(
    lacking: Callable[..., None], composer: Composer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from bnrepro.runs import engine

    planned: list[Config] = []

    def plan(sweep: list[tuple[Config, str]]) -> list[object]:
        planned.extend(config for config, _ in sweep)
        return []

    monkeypatch.setattr(engine, "plan", plan)
    monkeypatch.setattr(Composer, "inside_hydra", classmethod(lambda cls: composer))
    monkeypatch.setattr(Composer, "__enter__", lambda self: self)
    monkeypatch.setattr(Composer, "__exit__", lambda self, *exception: None)
    lacking("cifar10")
    EngineLauncher(1).train(
        lambda stand_in: [(*stand_in, "experiment=inception_training", f"seed={seed}") for seed in (0, 1)]
    )
    assert [(config.data.name, config.seed) for config in planned] == [("image_folder", 0), ("image_folder", 1)]
    assert "JPEG copy" in caplog.text
