"""Train one run, or with -m a sweep of runs: python scripts/train.py --help. A finished run is skipped at once."""

from __future__ import annotations

import logging
import shutil
import sys

import hydra
from hydra._internal.utils import get_args_parser
from omegaconf import DictConfig

from bnrepro.config.compose import Composer
from bnrepro.config.identity import from_hydra
from bnrepro.config.schema import register_schema
from bnrepro.data import ExampleOrder, open_dataset
from bnrepro.errors import ConfigError, UserError
from bnrepro.runs import run
from bnrepro.training import distributed
from bnrepro.training.loop import Trainer

log = logging.getLogger("train")
register_schema()


@hydra.main(config_path="../configs", config_name="train", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """One run; Hydra calls this in every process of a multirun."""
    try:
        planned = run.plan(from_hydra(cfg))
        status = run.execute(planned, _print)
    except UserError as error:
        # Here, because Hydra would print it as a traceback.
        _complain(error)
        sys.exit(2)
    if distributed.leads():
        log.info("%s: %s  %s", planned.folder.name, status, planned.folder.path)


def _complain(error: UserError) -> None:
    """Once, where all processes of a training, or of one machine, refuse the same."""
    if not error.told and (distributed.leads_here() or not isinstance(error, ConfigError)):
        print(f"error: {error}", file=sys.stderr, flush=True)


def _print(report: run.Report) -> None:
    values = "  ".join(f"{name} {value:.4f}" for name, value in report.values.items())
    log.info(
        "%s  step %d/%d  %s  %.0f steps/s", report.name, report.step, report.steps, values, report.steps_per_second
    )


def _check(arguments: list[str]) -> None:
    """Refuse, before anything starts, what a run of the call would refuse; Hydra's own output is left to Hydra."""
    given = get_args_parser().parse_args(arguments)
    if given.help or given.hydra_help or given.info or given.shell_completion:
        return
    if "hydra/launcher=slurm" in given.overrides and shutil.which("srun") is None:
        raise ConfigError("hydra/launcher=slurm: there is no Slurm here (srun is not found); leave it out to run here")
    if given.multirun and distributed.started() > 1:
        raise ConfigError("torchrun trains one network in several processes: leave out -m")
    with Composer(given.config_dir) as composer:
        configs = composer.sweep(given.overrides, single=not given.multirun)
    if given.cfg is None:
        for config in configs:
            dataset = open_dataset(config.data)
            ExampleOrder(config, len(dataset.train))
            if config.batch_size == 1 == config.processes:
                run.require_device(config)
                Trainer(config, dataset)


if __name__ == "__main__":
    try:
        _check(sys.argv[1:])
        main()
    except UserError as error:
        _complain(error)
        sys.exit(2)
    except KeyboardInterrupt:
        if distributed.leads():
            print("stopped; the same call goes on from the last checkpoints", file=sys.stderr)
        sys.exit(130)
