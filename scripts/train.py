"""Train one run, or a sweep of runs with -m: python scripts/train.py --help. A finished run is skipped."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from bnrepro.errors import ConfigError, UserError, door, leave

if TYPE_CHECKING:
    from omegaconf import DictConfig


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
    import time

    from bnrepro.config import launch
    from bnrepro.config.build import from_hydra

    config = from_hydra(cfg)

    from bnrepro.runs import run

    log, shown = logging.getLogger("train"), 0.0

    def show(report: run.Report) -> None:
        nonlocal shown
        if report.step < report.steps and time.monotonic() - shown < 1:
            return
        shown = time.monotonic()
        values = "  ".join(f"{name} {value:.4f}" for name, value in report.values.items())
        speed = f"{report.steps_per_second:.0f} steps/s"
        log.info("%s  step %d/%d  %s  %s", report.name, report.step, report.steps, values, speed)

    planned = run.plan(config)
    status = run.execute(planned, show)
    if launch.leads():
        log.info("%s: %s  %s", planned.folder.name, status, planned.folder.path)


if __name__ == "__main__":
    door(main)
