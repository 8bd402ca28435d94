"""Train one run, or a sweep of runs with -m: python scripts/train.py --help. A finished run is skipped."""

from __future__ import annotations

from bnrepro.door import door, leave

COMPLETION = ("install=", "uninstall=", "query=")
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    import logging
    from collections.abc import Sequence

    from omegaconf import DictConfig

    from bnrepro.config.schema import Config
    from bnrepro.errors import UserError
    from bnrepro.store import RunFolder


def main() -> None:
    import os

    given = parser().parse_args()
    refuse_together(given)
    # Hydra then passes its exceptions on, and the door prints them.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    import hydra

    from bnrepro.arguments import importable
    from bnrepro.config import launch
    from bnrepro.config.build import register_schema
    from bnrepro.errors import ConfigError, UserError

    register_schema()
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
        except Exception as error:
            leave(error)

    try:
        train()
    except UserError:
        raise
    except Exception as error:
        explained = _explained(error, given)
        if explained is error:
            raise
        raise explained from None


def parser():
    """The arguments that Hydra takes, which parses them again: what argparse refuses is one line."""
    from bnrepro import arguments

    found = arguments.Parser(add_help=False)
    found.add_argument("overrides", nargs="*")
    for option, short in (("multirun", "m"), ("run", "r"), ("shell-completion", "sc"), ("help", "h")):
        found.add_argument(f"--{option}", f"-{short}", action="store_true")
    for option in ("hydra-help", "version", "resolve"):
        found.add_argument(f"--{option}", action="store_true")
    for option, short in (("config-dir", "cd"), ("config-path", "cp"), ("config-name", "cn"), ("package", "p")):
        found.add_argument(f"--{option}", f"-{short}")
    found.add_argument("--cfg", "-c", choices=("job", "hydra", "all"))
    found.add_argument("--info", "-i", nargs="?", const="all",
                       choices=("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"))  # fmt: skip
    return found


def refuse_together(given: argparse.Namespace) -> None:
    """Raise :class:`ConfigError` for arguments that Hydra refuses together."""
    from bnrepro.errors import ConfigError

    modes = {
        "--run": given.run, "--multirun": given.multirun, "--cfg": given.cfg, "--info": given.info,
        "--shell-completion": given.shell_completion,
    }  # fmt: skip
    chosen = [name for name, value in modes.items() if value]
    if len(chosen) > 1:
        raise ConfigError(f"{' and '.join(chosen)}: only one of them at a time")
    if given.resolve and not (given.cfg or given.help):
        raise ConfigError("--resolve goes with --cfg or --help")
    if given.shell_completion and not any(text.startswith(COMPLETION) for text in given.overrides):
        raise ConfigError(f"--shell-completion goes with one of {', '.join(COMPLETION)}")


def _explained(error: Exception, given: argparse.Namespace) -> Exception:
    """Our message for what Hydra refused. Composing again gives one that suggests the names the user may have meant.

    ``error`` itself if the configuration can be composed: the cause lies elsewhere.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from bnrepro import store
    from bnrepro.config.compose import Composer, plain
    from bnrepro.errors import ConfigError, StoreError

    hydras = isinstance(error, (HydraException, OmegaConfBaseException))
    if isinstance(error, OSError) and error.filename and not hydras:  # Hydra makes a folder for a launcher of its own
        return StoreError(f"{error.filename}: {error.strerror}; the outputs folder is {store.outputs_folder()}")
    try:
        with Composer(given.config_dir) as composer:
            composer.sweep(given.overrides, single=not given.multirun)
    except ConfigError as own:
        return own
    return ConfigError(plain(error)) if hydras else error


def _once(error: UserError) -> UserError:
    """Every process of a machine refuses a wrong configuration; only the first one prints the error."""
    from bnrepro.config import launch
    from bnrepro.errors import ConfigError

    error.told |= isinstance(error, ConfigError) and not launch.leads_here()
    return error


def _train(cfg: DictConfig) -> None:
    """Train one run. Every process of a distributed training calls this."""
    import logging
    import sys

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
        planned.folder.read()  # a finished run of an earlier call may have been damaged since
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
