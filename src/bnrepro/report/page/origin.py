"""From a claim to its runs: the tables behind it, their configurations, and the command that makes it again."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from bnrepro import store
from bnrepro.claims import Claim
from bnrepro.claims.naming import BATCH
from bnrepro.report.judge import OWN, Found
from bnrepro.tables import Watched

NAMED = 2
"""At most this many runs are named; the table of runs lists the others."""


@dataclass(frozen=True)
class Table:
    """One table behind a claim: its file below the page, what its rows are, and the configuration that made it."""

    file: str
    said: str
    config: str = ""


@dataclass(frozen=True)
class Origin:
    """Where a claim's number comes from, and how it is made again; no command where none does."""

    tables: list[Table] = field(default_factory=list)
    command: str = ""


def origin(claim: Claim, found: Found) -> Origin:
    """What was read to judge ``claim``."""
    read = found.read.get(claim.slug)
    if read is None:
        return Origin()
    seed = read.seeds[0] if read.seeds else None
    tables = [_sweep(name, read, seed) for name in read.sweeps]
    tables += [
        Table(_file(read, name), f"{len(measured.frame):,} rows of a measurement", _config("measurement", name, read))
        for name, measured in read.measurements.items()
    ]
    return Origin(tables, _command(claim, read, seed) if tables else "")


def _sweep(name: str, read: Watched, seed: int | None) -> Table:
    tables = read.sweeps[name]
    runs = tables.runs
    said = f"{len(tables.metrics):,} rows of {len(runs):,} runs"
    if seed is not None:
        chosen = [str(run) for run in runs.loc[runs["seed"] == seed, "run"]]
        more = len(chosen) - NAMED
        said += f"; of seed {seed}: {', '.join(chosen[:NAMED])}" + (f" and {more:,} more" if more > 0 else "")
    return Table(_file(read, name), said, _config("experiment", name, read))


def _file(read: Watched, name: str) -> str:
    path = store.find_table(read.folder / "tables", name)
    assert path is not None, name
    return f"tables/{path.name}"


def _config(group: str, name: str, read: Watched) -> str:
    """The configuration's file, in the repository or in a user's own folder; none where neither has it."""
    path = store.configs_folder() / group / f"{name}.yaml"
    if path.exists():
        return path.relative_to(store.REPOSITORY).as_posix()
    users = None if read.own is None else read.own / group / f"{name}.yaml"
    return str(users) if users is not None and users.exists() else ""


def _command(claim: Claim, read: Watched, seed: int | None) -> str:
    """`make verify` asks the claims of this repository about BN, and one seed only where all tables have it."""
    if claim.origin == OWN or read.treatment != BATCH or (read.sweeps and seed is None):
        return ""
    parts = [f"--claim {claim.slug}", *([f"--seed {seed}"] if seed is not None else []), *elsewhere(read)]
    return f'make verify ARGS="{" ".join(parts)}"'


def elsewhere(results: Watched) -> list[str]:
    """The argument that names the folder of the tables, unless it is the committed one."""
    folder = results.folder.resolve()
    if folder == store.committed_results().resolve():
        return []
    inside = folder.is_relative_to(store.REPOSITORY)
    return [f"--results {os.path.relpath(folder, store.REPOSITORY) if inside else folder}"]
