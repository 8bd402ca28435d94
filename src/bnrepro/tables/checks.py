"""Whether the tables of an experiment fit together: every run once, whole, and the same in each of them.

Each check raises ``ValueError`` that names the row. They hold beside the digests, since a table can be wrong with a
digest that fits.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from bnrepro.config.columns import recorded_keys
from bnrepro.store.record import DESCRIBED, IDENTITY, OPEN, RUN_COLUMNS, VERSIONS

STATUSES = ("finished", "diverged")
SCHEDULE = ("evaluation.", "steps", "data", "fingerprint")
"""Runs that agree in these columns are evaluated at the same steps."""
PROBED = (*SCHEDULE, "arm", "model.", "probes.")
"""Runs that agree in these columns have the same lines in the table of a probe, except for the values."""
FEW = 8


def check_runs(experiment: str, runs: pd.DataFrame) -> None:
    """The table of runs: its columns are those of the schema, and each row is a finished run of its own."""
    keys = recorded_keys()
    for column in runs.columns:
        if column not in (*RUN_COLUMNS, *VERSIONS, *keys) and not column.startswith(f"{OPEN}."):
            raise ValueError(f"unknown column {column}")
    for column, always in keys.items():
        if always and column not in ("seed", OPEN) and column not in runs.columns:
            raise ValueError(f"column {column} is missing")
    for column in ("experiment", *DESCRIBED, *VERSIONS):
        _refuse(runs, runs[column] == "", f"{column} is blank")
    _refuse(runs, runs["experiment"] != experiment, f"it belongs to another experiment than {experiment}")
    _refuse(runs, ~runs["status"].isin(STATUSES), f"status is neither {' nor '.join(STATUSES)}")
    for column in ("run", "key"):
        _refuse(runs, runs[column].duplicated(), f"its {column} is there twice")
    ends = ("-s" + runs["seed"].astype(str) + "-" + runs["key"].str[:8]).tolist()
    named = [name.endswith(end) for name, end in zip(runs["run"], ends, strict=True)]
    _refuse(runs, ~np.array(named, dtype=bool), "its name does not end with its seed and key")
    finished = runs["status"] == "finished"
    _refuse(runs, finished & (runs["last_step"] != runs["steps"]), "it finished, but last_step is not steps")
    _refuse(runs, (runs["last_step"] < 0) | (runs["last_step"] > runs["steps"]), "last_step is not within its steps")


def check_timing(timing: pd.DataFrame, runs: pd.DataFrame) -> None:
    """The table of times: one row for each run."""
    places = _places(timing, runs)
    _refuse(timing, timing["run"].duplicated(), "there twice")
    _refuse(runs, np.bincount(places, minlength=len(runs)) == 0, "no row")


def check_metrics(metrics: pd.DataFrame, runs: pd.DataFrame) -> None:
    """The table of metrics: every run from step 0 to its end, at the same steps as the runs of the same schedule."""
    places = _places(metrics, runs)
    for column in ("split", "metric"):
        _refuse(metrics, metrics[column] == "", f"{column} is blank")
    kinds = [pd.factorize(metrics[column])[0] for column in ("split", "metric")]
    lines = pd.DataFrame({"run": places, "step": metrics["step"], "kind": kinds[0] * len(metrics) + kinds[1]})
    _refuse(metrics, lines.duplicated(), "there twice")
    _check_steps(metrics, places, runs)
    steps = lines.groupby("run")["step"]
    first, last = (ends.reindex(range(len(runs))).to_numpy() for ends in (steps.min(), steps.max()))
    finished = (runs["status"] == "finished").to_numpy()
    ran = finished | (runs["last_step"] > 0).to_numpy()  # else its first evaluation was not finite
    _refuse(runs, ran & np.isnan(first.astype(float)), "no lines")
    _refuse(runs, ran & (first != 0), "no line of step 0")
    _refuse(runs, finished & (last != runs["last_step"]), "its lines end before its last_step")
    _check_peers(lines, runs, SCHEDULE)


def check_probe(probe: pd.DataFrame, runs: pd.DataFrame) -> None:
    """The table of a probe: no line twice, and of every run as many at each step as of the runs that are alike.

    A table without steps says something of whole runs, at their last step.
    """
    places = _places(probe, runs)
    near = probe.duplicated(list(probe.columns[:FEW]), keep=False)  # all columns of a wide table would take long
    _refuse(probe, near & probe[near].duplicated().reindex(probe.index, fill_value=False), "there twice")
    if "step" in probe.columns:
        _check_steps(probe, places, runs)
    steps = probe["step"] if "step" in probe.columns else runs["steps"].to_numpy()[places]
    lines = pd.DataFrame({"run": places, "step": steps})
    lines["kind"] = lines.groupby(["run", "step"]).cumcount()
    _check_peers(lines, runs, PROBED)


def _places(frame: pd.DataFrame, runs: pd.DataFrame) -> np.ndarray:
    """The place in ``runs`` of the run that each line belongs to, of which the line must say the same."""
    places = pd.Index(runs["run"]).get_indexer(pd.Index(frame["run"]))
    unknown = frame["run"][places < 0]
    if len(unknown):
        raise ValueError(f"it has lines of {unknown.min()}, a run that is not in the table of runs")
    for column in IDENTITY[1:]:
        same = frame[column].to_numpy() == runs[column].to_numpy()[places]
        _refuse(frame, ~same, f"{column} is not that of the table of runs")
    return places


def _check_steps(frame: pd.DataFrame, places: np.ndarray, runs: pd.DataFrame) -> None:
    last = runs["last_step"].to_numpy()[places]
    _refuse(frame, (frame["step"] < 0) | (frame["step"] > last), "step is not within those of the run")


def _check_peers(lines: pd.DataFrame, runs: pd.DataFrame, alike: tuple[str, ...]) -> None:
    """Runs that agree in the columns ``alike`` have the same lines, each as far as it ran.

    ``lines`` has the place of the run, the step, and the kind of each line. A run that diverged has no line of its last
    step.
    """
    columns = [column for column in runs.columns if column.startswith(alike)]
    group = runs.groupby(columns, dropna=False).ngroup().to_numpy()
    reach = (runs["last_step"] - (runs["status"] != "finished")).to_numpy()
    due = lines[["step", "kind"]].assign(group=group[lines["run"]]).drop_duplicates().sort_values("step")
    steps = {number: of_group["step"].to_numpy() for number, of_group in due.groupby("group")}
    counts = np.bincount(lines["run"], minlength=len(runs))
    for place, count in enumerate(counts):
        number = group[place]
        if number in steps and count != np.searchsorted(steps[number], reach[place], side="right"):
            own = lines.loc[lines["run"] == place, ["step", "kind"]]
            wanted = due.loc[(due["group"] == number) & (due["step"] <= reach[place]), ["step", "kind"]]
            odd = pd.concat([own, wanted]).drop_duplicates(keep=False)["step"].min()
            raise ValueError(
                f"run {runs['run'].iloc[place]}: its lines of step {odd} are not those of the runs of the same schedule"
            )


def _refuse(frame: pd.DataFrame, bad: pd.Series | np.ndarray, reason: str) -> None:
    """Raise ``ValueError`` that names the first row where ``bad`` holds."""
    found = np.flatnonzero(np.asarray(bad, dtype=bool))
    if len(found):
        raise ValueError(f"run {frame['run'].iloc[found[0]]}, line {found[0] + 2}: {reason}")
