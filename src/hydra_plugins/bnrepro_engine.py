"""Connects ``python scripts/train.py -m`` to this project's composer and engine; Hydra finds plugins only here.

Hydra runs this file at every start, before it has a name in ``sys.modules``. So it imports nothing heavy at its top,
and its dataclasses cannot have postponed annotations.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class SweeperConfig:
    """``params`` is the sweep that an experiment declares; the command line narrows, widens or fixes it."""

    _target_: str = "hydra_plugins.bnrepro_engine.ProductSweeper"
    params: dict[str, Any] = field(default_factory=dict)


@dataclass
class LauncherConfig:
    """``n_jobs`` is the number of runs that train at a time; null: one per core."""

    _target_: str = "hydra_plugins.bnrepro_engine.EngineLauncher"
    n_jobs: int | None = None


class OwnGroups(SearchPathPlugin):
    """The folder of groups that a composer was opened with, where Hydra puts that of ``--config-dir``."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        from bnrepro.config import own_groups

        if own_groups.folder is not None:
            search_path.prepend("command-line", f"file://{own_groups.folder}", SearchPathQuery(provider="schema"))


class ProductSweeper(Sweeper):
    """Every combination of the swept values, expanded at once and checked before anything starts."""

    def __init__(self, params: DictConfig | None) -> None:
        self.params = params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from hydra.core.plugins import Plugins

        self.chosen = config.hydra.runtime.choices["hydra/launcher"]
        self.engine = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        from bnrepro.config.compose import Composer, declared_sweep, expand
        from bnrepro.errors import ConfigError

        def jobs_on(stand_in: Sequence[str]) -> list[tuple[str, ...]]:
            return expand([*declared_sweep(self.params), *stand_in, *arguments])

        jobs = jobs_on(())
        if self.chosen == "slurm" and shutil.which("srun") is None:
            raise ConfigError(
                "hydra/launcher=slurm: Slurm is not available (no srun); without this override the sweep runs here"
            )
        if isinstance(self.engine, EngineLauncher):
            return [self.engine.train(jobs_on)]
        with Composer.inside_hydra() as composer:
            composer.configs(jobs)  # raises what any of the jobs would raise
        return [self.engine.launch([list(job) for job in jobs], initial_job_idx=0)]


class EngineLauncher(Launcher):
    """Trains the runs of a sweep with the engine of `make reproduce`."""

    def __init__(self, n_jobs: int | None) -> None:
        self.n_jobs = n_jobs

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from bnrepro.errors import ConfigError

        if self.n_jobs is not None and self.n_jobs < 1:
            raise ConfigError(f"hydra.launcher.n_jobs={self.n_jobs}: at least 1, or null for one per core")

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        return self.train(lambda stand_in: job_overrides)

    def train(self, jobs_on: Callable[[Sequence[str]], Sequence[Sequence[str]]]) -> Sequence[JobReturn]:
        """Train the jobs of a sweep, which ``jobs_on`` lists with the overrides that replace missing data."""
        from bnrepro.config.compose import Composer

        with Composer.inside_hydra() as composer:
            sweep = composer.detailed(jobs_on(()))

            from rich.console import Console

            from bnrepro.data import fallback
            from bnrepro.runs import engine

            found = fallback.with_data(lambda stand_in: composer.configs(jobs_on(stand_in)))
            if found.stand_in:
                sweep = composer.detailed(jobs_on(found.stand_in))
        fallback.tell(found)

        console = Console()
        planned = engine.plan(sweep)
        outcome = engine.train_all(planned, self.n_jobs, console)
        console.print(engine.summary(planned, outcome))
        console.print("curves of any of them: python scripts/plot.py KEY [KEY ...]", markup=False, highlight=False)
        outcome.require_all()
        return []


store = ConfigStore.instance()
store.store(group="hydra/sweeper", name="bnrepro", node=SweeperConfig, provider="bnrepro")
store.store(group="hydra/launcher", name="bnrepro", node=LauncherConfig, provider="bnrepro")
