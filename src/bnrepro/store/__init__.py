"""What lies on disk: its paths, its files, the folders of runs. The only room that writes; no torch."""

from __future__ import annotations

from bnrepro.store.files import find_table, read_array, try_lock, write_array, write_atomic, write_table
from bnrepro.store.folders import Run, remove_unfinished_parts, run, run_named, runs_of
from bnrepro.store.paths import (
    REPOSITORY,
    committed_results,
    configs_folder,
    data_folder,
    outputs_folder,
    results_folder,
)

__all__ = [
    "REPOSITORY",
    "Run",
    "committed_results",
    "configs_folder",
    "data_folder",
    "find_table",
    "outputs_folder",
    "read_array",
    "remove_unfinished_parts",
    "results_folder",
    "run",
    "run_named",
    "runs_of",
    "try_lock",
    "write_array",
    "write_atomic",
    "write_table",
]
