"""One claim's number made again: its runs for one seed, or its measurement, beside the committed number."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from bnrepro import arguments, store, tables
from bnrepro.claims import CLAIMS, EXPERIMENTS, Claim
from bnrepro.config.build import from_record
from bnrepro.config.compose import Composer
from bnrepro.config.schema import Config
from bnrepro.data.fallback import JPEG_FOLDER
from bnrepro.errors import ConfigError
from bnrepro.measurements import base as measure
from bnrepro.measurements.base import Measurement
from bnrepro.pipeline.verify import record_of
from bnrepro.report.judge import deciding
from bnrepro.runs import engine
from bnrepro.runs.planned import plan
from bnrepro.stats import NOT_RUN
from bnrepro.tables import Measured, Results, Tables


@dataclass(frozen=True, eq=False)
class _Watched(Results):
    """Results that remember which tables were asked for."""

    sweeps: dict[str, Tables] = field(default_factory=dict)
    measurements: dict[str, Measured] = field(default_factory=dict)

    def tables(self, experiment: str) -> Tables | None:
        found = super().tables(experiment)
        if found is not None:
            self.sweeps[experiment] = found
        return found

    def measured(self, name: str) -> Measured | None:
        found = super().measured(name)
        if found is not None:
            self.measurements[name] = found
        return found


@dataclass(frozen=True, eq=False)
class _OneSeed(Results):
    """Results of which only one seed was run."""

    seed: int = 0

    def tables(self, experiment: str) -> Tables | None:
        found = super().tables(experiment)
        if found is None:
            return None
        metrics, runs, timing = (self._of_seed(frame) for frame in (found.metrics, found.runs, found.timing))
        probes = {name: self._of_seed(frame) for name, frame in found.probes.items()}
        return Tables(experiment, metrics, runs, timing, probes)

    def _of_seed(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame[frame["seed"] == self.seed].reset_index(drop=True)


def claim_again(slug: str, seed: int | None, results: Path, jobs: int | None, console: Console) -> int:
    """Run everything again that the claim ``slug`` reads, for one seed and to its end, and print both numbers.

    The runs start from nothing, in a folder that is removed at the end; a measurement works on the networks of the
    outputs folder. Returns 0. Raises :class:`~bnrepro.errors.UserError` for an unknown claim or seed, if the tables
    below ``results`` cannot answer the claim, or if a run fails.
    """
    claim = _claim(slug)
    watched = _Watched(results)
    committed = claim.judge(watched)
    if committed.verdict == NOT_RUN:
        raise ConfigError(f"--claim {slug}: {'; '.join(committed.notes)}")
    chosen = _seed(slug, seed, watched)
    shown = Table("", claim.metric, "n", title=claim.slug, title_justify="left")
    shown.add_row("committed, as in the README", *deciding(committed))
    with _nothing_done() as outputs:
        folder = outputs / "again"
        _train(watched, chosen, folder, jobs, console)
        _measure(watched, folder, console)
        if chosen is None:
            shown.add_row("made again", *deciding(claim.judge(Results(folder))))
        else:
            shown.add_row(f"committed, seed {chosen} alone", *deciding(claim.judge(_OneSeed(results, seed=chosen))))
            shown.add_row(f"made again, seed {chosen}", *deciding(claim.judge(_OneSeed(folder, seed=chosen))))
    console.print(shown, highlight=False)
    return 0


def print_measured(planned: Measurement, console: Console) -> None:
    """Print what a finished measurement says of each of its claims, beside the committed number."""
    committed = Results(store.committed_results())
    with tempfile.TemporaryDirectory() as folder:
        tables.write_measurement(planned.folder, Path(folder))
        for claim in EXPERIMENTS[planned.name].claims:
            here, there = (claim.judge(results) for results in (Results(Path(folder)), committed))
            (number, n), (known, _) = deciding(here), deciding(there)
            counted = "" if n == "–" else f" ({n})"
            line = f"{claim.slug}: {number}{counted}, {here.verdict}; committed: {known}, {there.verdict}"
            for text in (line, f"    {claim.metric}", *(f"    {note}" for note in here.notes)):
                console.print(text, highlight=False, markup=False, soft_wrap=True)


def _claim(slug: str) -> Claim:
    known = {claim.slug: claim for claim in CLAIMS}
    name = slug.replace("-", "_")  # as an anchor of the report
    if name not in known:
        raise ConfigError(f"--claim {slug}: no such claim; {arguments.near(name, known)}")
    return known[name]


def _seed(slug: str, seed: int | None, watched: _Watched) -> int | None:
    """The seed to run: by default the first that all sweeps of the claim have; None if it reads measurements alone."""
    if not watched.sweeps:
        if seed is not None:
            raise ConfigError(f"--seed {seed}: {slug} is an exact measurement, without seeds; leave --seed out")
        return None
    common = set.intersection(*(set(map(int, found.runs["seed"])) for found in watched.sweeps.values()))
    if not common or (seed is not None and seed not in common):
        raise ConfigError(f"--seed {seed}: the tables of {slug} have the seeds {', '.join(map(str, sorted(common)))}")
    return min(common) if seed is None else seed


@contextlib.contextmanager
def _nothing_done() -> Iterator[Path]:
    """An outputs folder with nothing finished in it but the cache of decoded images, removed at the end."""
    before, cache = os.environ.get("BNREPRO_OUTPUTS"), store.outputs_folder().resolve() / "cache"
    with tempfile.TemporaryDirectory(prefix="bnrepro-again-") as folder:
        if cache.is_dir():
            (Path(folder) / "cache").symlink_to(cache)
        os.environ["BNREPRO_OUTPUTS"] = folder  # for the workers too
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ["BNREPRO_OUTPUTS"]
            else:
                os.environ["BNREPRO_OUTPUTS"] = before


def _train(watched: _Watched, seed: int | None, folder: Path, jobs: int | None, console: Console) -> None:
    """The runs of one seed of every sweep, and their tables below ``folder``."""
    planned = {}
    for name, found in watched.sweeps.items():
        runs = found.runs.loc[found.runs["seed"] == seed, "run"]
        planned[name] = [plan(_config(name, str(each), watched.folder)) for each in runs]
    if planned:
        everything = [item for items in planned.values() for item in items]
        engine.train_all(everything, jobs, console).require_all()
    for name, items in planned.items():
        tables.write_experiment(name, [item.folder for item in items], folder)


def _config(experiment: str, name: str, results: Path) -> Config:
    config = from_record(experiment, record_of(experiment, name, results).config)
    config.wandb = "disabled"
    if config.data.name == "image_folder":
        config.data.root = JPEG_FOLDER  # a record does not hold the place of its data
    return config


def _measure(watched: _Watched, folder: Path, console: Console) -> None:
    """The measurements with the settings of their tables, and their tables below ``folder``."""
    for name, found in watched.measurements.items():
        console.print(f"measuring {name}", highlight=False)
        with Composer() as composer:
            planned = measure.plan(composer, name)
        planned = dataclasses.replace(planned, settings=json.loads(str(found.meta["settings"])))
        measure.execute(planned)
        tables.write_measurement(planned.folder, folder)
