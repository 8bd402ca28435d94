"""The disk: paths, files, and the folders and records of runs. Only this room writes."""

from __future__ import annotations

from bnrepro.store.files import write_atomic
from bnrepro.store.folders import Files, RunFolder, found_run, run_folder, run_named, runs_of
from bnrepro.store.locks import Lock, alone_in
from bnrepro.store.paths import (
    REPOSITORY,
    choices,
    committed_results,
    configs_folder,
    data_folder,
    outputs_folder,
    results_folder,
    short,
)
from bnrepro.store.record import RunRecord, flatten, unflatten
from bnrepro.store.refusals import reading, shown, writing
from bnrepro.store.tables import check_tables, find_table, write_tables
