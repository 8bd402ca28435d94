"""Train one run, or a sweep of runs with -m: python scripts/train.py --help. A finished run is skipped."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from bnrepro.errors import ConfigError, UserError, door, leave

if TYPE_CHECKING:
    import logging
    from collections.abc import Sequence

    from omegaconf import DictConfig

    from bnrepro.config.schema import Config
    from bnrepro.store import RunFolder


def main() -> None:
    # Hydra then passes its exceptions on, and the door prints them.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from bnrepro.config import launch
    from bnrepro.config.build import register_schema
    from bnrepro.config.compose import importable

    register_schema()
    given = _given(sys.argv[1:])
    if given.config_dir is not None:
        importable(given.config_dir)
    if launch.started() > 1 and given.multirun:
        raise _once(ConfigError("torchrun trains one network in several processes: leave out -m"))

    @hydra.main(config_path="../configs", config_name="train", version_base="1.3")
    def train(cfg: DictConfig) -> None:
        try:
            _train(cfg)
        except UserError as error:
            leave(_once(error))  # here, since Hydra adds a text of its own to an exception

    try:
        train()
    except (HydraException, OmegaConfBaseException) as error:
        raise _explained(error, given) from None


def _given(arguments: list[str]) -> argparse.Namespace:
    """The parts of Hydra's command line that are needed here; Hydra itself parses all of it."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--config-dir", "-cd")
    for option in ("--cfg", "-c", "--package", "-p", "--config-name", "-cn", "--config-path", "-cp"):
        parser.add_argument(option)
    parser.add_argument("--info", "-i", nargs="?")
    return parser.parse_known_args(arguments)[0]


def _explained(error: Exception, given: argparse.Namespace) -> ConfigError:
    """Our message for what Hydra refused. Composing again gives one that suggests the names the user may have meant."""
    from bnrepro.config.compose import Composer, plain

    try:
        with Composer(given.config_dir) as composer:
            composer.sweep(given.overrides, single=not given.multirun)
    except ConfigError as own:
        return own
    return ConfigError(plain(error))


def _once(error: UserError) -> UserError:
    """Every process of a machine refuses a wrong configuration; only the first one prints the error."""
    from bnrepro.config import launch

    error.told |= isinstance(error, ConfigError) and not launch.leads_here()
    return error


def _train(cfg: DictConfig) -> None:
    """Train one run. Every process of a distributed training calls this."""
    import logging

    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from bnrepro.config import launch
    from bnrepro.config.build import from_hydra

    config = from_hydra(cfg)

    from bnrepro.data import fallback
    from bnrepro.runs import run
    from bnrepro.runs.display import OneRun

    log = logging.getLogger("train")
    found = fallback.with_data(lambda stand_in: _with(stand_in) if stand_in else [config])
    fallback.tell(found)
    planned = run.plan(found.configs[0])
    status = run.execute(planned, OneRun(log.info, sys.stdout.isatty()))
    if launch.leads():
        log.info("%s: %s  %s", planned.folder.name, status, planned.folder.path)
        if HydraConfig.get().mode != RunMode.MULTIRUN:
            _draw(planned.folder, log)


def _draw(folder: RunFolder, log: logging.Logger) -> None:
    """Draw a finished run's curves, unless they are drawn. The run is safe: no error of drawing is one of the run."""
    try:
        from bnrepro.report import curves

        picture = folder.path / curves.PICTURE
        log.info("curves: %s", picture if picture.exists() else curves.draw([folder]))
    except Exception as error:
        log.warning(
            "the curves could not be drawn (%s: %s); the run is finished: python scripts/plot.py %s",
            type(error).__name__, error, folder.name,
        )  # fmt: skip


def _with(overrides: Sequence[str]) -> list[Config]:
    """The run of this command with further overrides, before those of the command line."""
    from hydra.core.hydra_config import HydraConfig

    from bnrepro.config.compose import Composer

    with Composer.inside_hydra() as composer:
        return composer.sweep([*overrides, *HydraConfig.get().overrides.task], single=True)


if __name__ == "__main__":
    door(main)
